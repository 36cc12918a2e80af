"""The graph on many machines: stages as runs of Prefect's work pools, results handed over by DVC."""
