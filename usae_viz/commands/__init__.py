"""What the commands of `usae-viz` do."""
