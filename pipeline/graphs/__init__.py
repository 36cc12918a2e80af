"""dvc.yaml, composed of the files in graphs/: the stages that all families share, and those of one family."""
