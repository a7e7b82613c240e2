"""Training: settings, the step and its losses, the one loop, and what is kept and logged of it."""
