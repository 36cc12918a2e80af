"""Edits of dvc.yaml."""

from __future__ import annotations

from pathlib import Path

from pipeline.graphs.stamp import stamped, without_stamp


def of_family(root: Path, family: str) -> None:
    """Have dvc.yaml say that it is the graph of a family."""
    path = root / "dvc.yaml"
    path.write_text(stamped(family, without_stamp(path.read_text())))
