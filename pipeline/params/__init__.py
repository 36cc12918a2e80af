"""params.yaml, typed."""
