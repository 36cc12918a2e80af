"""Single files in DVC's cache: what workers have written is read without bringing the rest."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dvc.repo import Repo

from pipeline.artifacts.atomic import atomic_file
from pipeline.orchestrate.run_cache import has_remote
from pipeline.runtime.errors import InputError


def read_file(repo: Repo, digest: str) -> bytes:
    """A file that a worker has written, from the cache, where it is put if it is in the remote only.

    Raises:
        InputError: it is in neither.
    """
    cache = repo.cache.local
    place = Path(cache.oid_to_path(digest))
    if not place.exists():
        if not has_remote(repo):
            raise InputError(f"{place}: not in the cache; have one cache folder or one remote in all clones")
        remote = repo.cloud.get_remote_odb(None, "worker")
        try:
            content = remote.fs.cat_file(remote.oid_to_path(digest))
        except FileNotFoundError as error:
            raise InputError(f"{error.filename or digest}: not in the remote") from None
        _write(place, content)
    return place.read_bytes()


def keep_file(repo: Repo, content: bytes) -> str:
    """Put a file into the cache; its digest."""
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    place = Path(repo.cache.local.oid_to_path(digest))
    if not place.exists():
        _write(place, content)
    return digest


def _write(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(place) as temporary:
        temporary.write_bytes(content)
