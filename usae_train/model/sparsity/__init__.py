"""Which concepts of a token are active: one small file per variant, found by `variants`."""
