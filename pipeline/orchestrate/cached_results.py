"""Which results DVC's cache has of stages that have not run yet as they stand now, without running any.

DVC's run-cache keeps a run under its command, its parameters and the digests of what it read. What a stage will read is
known where all stages before it are up to date, or have results in the cache themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dvc.repo import Repo

from pipeline.orchestrate.lock_entries import LockEntry, declared_stages, key_of
from pipeline.orchestrate.run_cache import results_of_cache
from pipeline.runtime.errors import InputError


class CachedResults:
    """Follows a graph stage by stage, each after those it reads from.

    Args:
        params: the content of params.yaml. code: the digests of the present locks of the code, by path.
    """

    def __init__(self, repo: Repo, params: Mapping[str, Any], code: Mapping[str, str]) -> None:
        self._repo, self._params, self._results = repo, params, results_of_cache(repo)
        self._known: dict[str, LockEntry] = {}
        try:
            self._declared = declared_stages(repo, code)
        except InputError:  # an input is missing
            self._declared = {}

    def is_up_to_date(self, name: str, entry: LockEntry | None) -> None:
        """Note that what `data/` has of a stage counts, with its entry in dvc.lock."""
        if entry is not None:
            self._known[name] = dict(entry)

    def has(self, name: str) -> bool:
        """Whether the stage's result would be taken from the cache; False also where that is not known."""
        declared = self._declared.get(name)
        if declared is None or any(stage not in self._known for stage in declared.read.values()):
            return False
        try:
            entry = self._results.newest(key_of(declared.entry(self._params, self._known)))
            if entry is None or not all(self._holds(out["md5"]) for out in entry["outs"]):
                return False
        except (LookupError, TypeError, ValueError, OSError):  # an entry or a listing that is damaged
            return False
        self._known[name] = entry
        return True

    def _holds(self, digest: str) -> bool:
        """Whether the cache has an output, a folder with all its files."""
        place = self._place(digest)
        if not place.is_file():
            return False
        if not digest.endswith(".dir"):
            return True
        files = json.loads(place.read_text(encoding="utf-8"))
        return all(self._place(file["md5"]).is_file() for file in files)

    def _place(self, digest: str) -> Path:
        return Path(self._repo.cache.local.oid_to_path(digest))
