"""Faster R-CNN trained end to end: joint training only, without the four steps."""
