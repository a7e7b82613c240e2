"""The USAE: encoders, dictionaries and sparse codes, its statistics and its folder."""
