"""Which concepts of a token are active: one small file a variant, found by `variants`."""
