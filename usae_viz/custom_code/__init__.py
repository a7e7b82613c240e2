"""Custom Python, named `module:Name` or given in Python: found, hashed, and imported only with permission."""
