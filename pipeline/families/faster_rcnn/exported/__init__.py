"""Faster R-CNN as networks of other libraries."""
