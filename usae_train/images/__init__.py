"""Pictures: where they come from, what cannot be read, and their spectrum."""
