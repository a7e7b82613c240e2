"""Sparse autoencoders of other libraries: one file a format, found by `formats`; nothing in their files is run."""
