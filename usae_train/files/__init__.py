"""Files that appear whole or not at all, and say which software made them."""
