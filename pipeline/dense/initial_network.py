"""The detector that training starts from, a network that every dense family has besides its own."""

from __future__ import annotations

from pipeline.families.family import Network

INITIAL = Network(
    "detector to start from",
    "The detector that training starts from, before any training.",
    {"trunk": "backbone", "head": "backbone"},
)
