"""What is shown and logged of a training while it runs."""
