"""Which layout a data root has: found by the names in it, and taken where its reader finds labelled images."""
