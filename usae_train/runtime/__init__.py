"""What every command runs in: processes, signals, the terminal, memory."""
