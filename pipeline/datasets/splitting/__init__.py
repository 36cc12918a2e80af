"""Dividing a data set without splits of its own into train, val and test."""
