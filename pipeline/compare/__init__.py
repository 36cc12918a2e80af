"""Detectors of several families, side by side."""
