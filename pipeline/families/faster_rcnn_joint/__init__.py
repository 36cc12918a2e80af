"""Faster R-CNN trained end to end: joint training alone, without the four steps before it."""
