"""Tokens: paired, standardized, kept in a store or streamed, and fed to training in a random order."""
