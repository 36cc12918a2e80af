"""Where stage runs that are done are kept for everybody: the run-cache in a cache folder or in a DVC remote.

On a GPU two runs under one key may differ. The first one to be kept counts; a later one is reported and not kept, so
that no stage reads weights of one run and proposals of another.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dvc.repo import Repo

from pipeline.orchestrate.lock_entries import LockEntry, key_of, value_of
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import YamlError, dump_yaml, parse_yaml


@dataclass(frozen=True)
class Kept:
    """What is kept under a key: the `entry` that counts, and whether another result has been dropped for it."""

    entry: LockEntry
    is_second: bool


class Results:
    """The run-cache in `folder` of a file system of DVC's."""

    def __init__(self, fs: Any, folder: str) -> None:
        self._fs, self._folder = fs, fs.join(folder, "runs")

    def first(self, key: str) -> LockEntry | None:
        """The result that counts under a key; None if the run does not exist."""
        return self._first_readable(self._oldest_first(key))

    def newest(self, key: str) -> LockEntry | None:
        """The result that DVC takes where it runs the graph itself; None if the run does not exist."""
        return self._first_readable(self._oldest_first(key)[::-1])

    def _first_readable(self, paths: Sequence[str]) -> LockEntry | None:
        for path in paths:
            try:
                return dict(parse_yaml(self._fs.cat_file(path).decode(), path))
            except (YamlError, TypeError, ValueError, FileNotFoundError):
                continue
        return None

    def keep(self, entry: LockEntry) -> Kept:
        """Keep a result, unless there is one under its key already."""
        key, value = key_of(entry), value_of(entry)
        first = self.first(key)
        if first is None:
            self.replace(key, entry)
            first = self.first(key) or entry
        if value_of(first) == value:
            return Kept(entry, is_second=False)
        self.drop(key, value)
        return Kept(first, is_second=True)

    def replace(self, key: str, entry: LockEntry) -> None:
        """Have `entry` as the only result under a key."""
        for path in self._oldest_first(key):
            self._fs.rm_file(path)
        self._write(key, value_of(entry), entry)

    def drop(self, key: str, value: str) -> None:
        """Forget one result."""
        path = self._fs.join(self._place(key), value)
        if self._fs.exists(path):
            self._fs.rm_file(path)

    def _place(self, key: str) -> str:
        return str(self._fs.join(self._folder, key[:2], key))

    def _oldest_first(self, key: str) -> list[str]:
        place = self._place(key)
        if not self._fs.exists(place):
            return []
        self._fs.invalidate_cache() if hasattr(self._fs, "invalidate_cache") else None
        # A temporary file of a writer has a longer name.
        paths = [path for path in self._fs.find(place) if len(self._fs.name(path)) == len(key)]
        return sorted(paths, key=lambda path: (_changed(self._fs.info(path)), path))

    def _write(self, key: str, value: str, entry: LockEntry) -> None:
        place = self._place(key)
        self._fs.makedirs(place, exist_ok=True)
        temporary = self._fs.join(place, f"{value}.partial")
        self._fs.put_file(io.BytesIO(dump_yaml(entry).encode()), temporary)
        self._fs.mv(temporary, self._fs.join(place, value))


def results_of_cache(repo: Repo) -> Results:
    """Those in the clone's own cache, which other clones may share."""
    odb = repo.cache.legacy
    return Results(odb.fs, odb.path)


def results_of_remote(repo: Repo) -> Results:
    """Those in the default remote."""
    odb = repo.cloud.get_remote_odb(None, "worker", hash_name="md5-dos2unix")
    return Results(odb.fs, odb.path)


def has_remote(repo: Repo) -> bool:
    """Whether results are handed over through a remote, and not through a cache that all share."""
    return bool(repo.config["core"].get("remote"))


def shared_results(repo: Repo) -> Results:
    """Those that all clones see.

    Raises:
        InputError: the remote is of a kind that DVC needs another package for.
    """
    try:
        return results_of_remote(repo) if has_remote(repo) else results_of_cache(repo)
    except ImportError as error:
        raise InputError(f"the remote {repo.config['core']['remote']}: {error}; install it in every clone") from None


def _changed(info: Mapping[str, Any]) -> float:
    changed = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or 0.0
    return changed.timestamp() if isinstance(changed, datetime) else float(changed)
