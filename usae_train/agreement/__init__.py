"""A concept space that several trainings agree on: matched, averaged, and its encoders fitted again."""
