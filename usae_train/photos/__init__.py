"""`photos`: a USAE over two real networks, trained on photographs, whose concepts have names."""
