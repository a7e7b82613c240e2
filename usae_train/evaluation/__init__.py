"""Evaluation: one pass over pictures that were not trained on, its figures and its report."""
