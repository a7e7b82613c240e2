"""What dictionary rows may be in training: one small file per variant, found by `variants`."""
