"""Digests of texts of modules, and the texts of this project's own."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pipeline.runtime.code_locks.source import read_source
from tests.conftest import ROOT


def digest(source: str | bytes) -> str:
    content = source.encode() if isinstance(source, str) else source
    return read_source(content, "package.module", is_package=False).digest


@cache
def own_sources() -> list[tuple[Path, str]]:
    paths = sorted(path for folder in ("pipeline", "stages") for path in (ROOT / folder).rglob("*.py"))
    assert len(paths) > 200
    return [(path, path.read_text(encoding="utf-8")) for path in paths]
