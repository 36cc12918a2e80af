"""The graph as DVC has it, and how it is run."""
