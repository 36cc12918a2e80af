"""A small anchor-free detector: each point near the centre of an object says how far its edges are."""
