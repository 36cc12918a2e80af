"""Builds the network that params.yaml describes, part by part, with the weights that stages wrote."""
