"""Runs: from a recipe to a plan, and from a plan to pictures on disk that can be drawn again."""
