"""Backbones: frozen timm models, from pictures to patch tokens."""
