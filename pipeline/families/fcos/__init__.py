"""FCOS (Tian et al. 2019): each location inside an object says what it is, how far its edges are and how central it
lies."""
