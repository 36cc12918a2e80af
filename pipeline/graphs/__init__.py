"""dvc.yaml, made of the files in graphs/: what all families begin with, and what a family goes on with."""
