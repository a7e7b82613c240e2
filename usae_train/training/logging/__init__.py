"""What is said and kept of a training while it runs."""
