"""How backbones are shown a canvas."""
