"""Schemas, atomic writers and lazy readers of every file a stage leaves."""
