"""A small project in a folder of a test's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline.runtime.code_locks.tree import SourceTree


def tree_of(
    root: Path,
    files: Mapping[str, str],
    left_out: Iterable[str] = (),
    libraries: Mapping[str, tuple[str, ...]] | None = None,
    memo: Path | None = None,
) -> SourceTree:
    """A project with the packages `a` and `b`, written to `root`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return SourceTree(root, ("a", "b"), libraries or {}, left_out, memo)
