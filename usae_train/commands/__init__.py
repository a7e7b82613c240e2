"""What the commands of `usae-train` do, and what their arguments and files may say."""
