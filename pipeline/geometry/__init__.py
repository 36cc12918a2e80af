"""Geometry on an image: levels of maps, anchors, RoI pooling. NumPy only, for code that runs without torch."""
