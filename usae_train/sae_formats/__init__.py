"""Sparse autoencoders of other libraries: one file per format, found by `formats`; nothing in their files is run."""
