"""Somebody's own Python, named `module:Name` or given in Python: found, hashed, and imported with leave alone."""
