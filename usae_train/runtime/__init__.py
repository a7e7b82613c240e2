"""What runs beside what: processes that share a command's work, and how many the machine can run."""
