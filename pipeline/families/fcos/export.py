"""Formats of the family."""

from __future__ import annotations

from pipeline.dense.export import FORMATS

__all__ = ["FORMATS"]
