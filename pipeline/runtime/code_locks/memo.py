"""Caches parsed sources in a file, so that no source is parsed twice."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from pipeline.runtime.code_locks.source import ModuleSource, read_source


class Memo:
    """Sources by the hash of their content.

    Args:
        path: the file; None keeps them in memory alone.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._is_new = path, False
        self._known: dict[str, ModuleSource] = {}
        self._used: set[str] = set()
        if path is not None:
            try:
                kept = json.loads(path.read_text(encoding="utf-8"))
                if kept["made_by"] == _own_hash():
                    self._known = {
                        key: ModuleSource(digest, *map(tuple, names)) for key, digest, names in kept["sources"]
                    }
            except (OSError, ValueError, KeyError, TypeError):
                pass  # none yet, or one that was damaged

    def source(self, content: bytes, name: str, *, is_package: bool) -> ModuleSource:
        """As `read_source`."""
        key = hashlib.sha256(f"{name} {is_package} ".encode() + content).hexdigest()
        if key not in self._known:
            self._known[key] = read_source(content, name, is_package=is_package)
            self._is_new = True
        self._used.add(key)
        return self._known[key]

    def write(self) -> None:
        """Store the new entries; does nothing if there are none, or the disk cannot be written."""
        if self._path is None or not self._is_new:
            return
        known = [(key, self._known[key]) for key in sorted(self._used)]
        sources = [(key, own.digest, (own.imports, own.needed, own.wanted)) for key, own in known]
        text = json.dumps({"made_by": _own_hash(), "sources": sources})
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self._path)
        except OSError:  # it only saves time
            with suppress(OSError):
                temporary.unlink()


def _own_hash() -> str:
    """Of the code that makes digests."""
    return hashlib.sha256(Path(__file__).with_name("source.py").read_bytes()).hexdigest()
