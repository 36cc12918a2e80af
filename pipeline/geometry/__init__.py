"""Where things lie on an image: levels of maps, anchors, RoI pooling. NumPy alone, for what runs without torch."""
