"""A data set looked at before anything runs: `frcnn check-data`. No torch."""
