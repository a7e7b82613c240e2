"""What pages of several rooms have in common: scripts, styles, small copies of pictures."""
