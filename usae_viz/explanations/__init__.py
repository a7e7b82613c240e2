"""Explanations: what each backbone sees in a photograph, where, and what of it carries the backbone's answer."""
