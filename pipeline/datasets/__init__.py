"""Readers of annotated images and the generated shapes."""
