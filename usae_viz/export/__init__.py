"""What one result leaves on disk."""
