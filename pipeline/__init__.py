"""Faster R-CNN as a graph of stages: the library behind `stages/`."""
