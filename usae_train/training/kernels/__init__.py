"""What a training step spends its time in."""
