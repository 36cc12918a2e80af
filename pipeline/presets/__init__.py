"""Overlays of params.yaml for real work, and what applies them."""
