"""Presets: overlays of params.yaml, and the code that applies them."""
