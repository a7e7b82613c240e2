"""Concepts: how a person names them, a reader's labels, and which ones a recipe draws."""
