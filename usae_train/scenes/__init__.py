"""The world of the demo: scenes drawn by parameters, and the factors that are true of each pixel."""
