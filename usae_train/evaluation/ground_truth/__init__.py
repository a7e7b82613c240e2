"""What can be measured where the truth of every pixel is known."""
