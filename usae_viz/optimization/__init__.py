"""Maximization: its settings, the one loop, when it stops, how many pictures at once, and what it returns."""
