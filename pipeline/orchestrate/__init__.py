"""The graph as DVC knows it, and what keeps dvc.yaml true."""
