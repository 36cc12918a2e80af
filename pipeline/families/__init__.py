"""Families of detectors: what each has beyond the shared parts."""
