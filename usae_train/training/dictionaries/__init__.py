"""What dictionary rows may be in training: one small file a variant, found by `variants`."""
