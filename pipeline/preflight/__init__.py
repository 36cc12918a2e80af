"""Checks a data set before anything runs: `frcnn check-data`. No torch."""
