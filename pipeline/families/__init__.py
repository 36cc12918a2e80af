"""Families of detectors: what one needs beyond what all share."""
