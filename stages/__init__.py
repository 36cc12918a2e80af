"""One module per kind of stage; wiring is in dvc.yaml."""
