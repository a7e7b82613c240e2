"""Verification: finished pictures under views they were not optimized on."""
