"""Artifacts between a clone's workspace, its cache and the remote, moved by DVC in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dvc.repo import Repo
from prefect.logging import get_logger

from pipeline.orchestrate.lock_entries import LockEntry, written_by
from pipeline.orchestrate.run_cache import has_remote
from pipeline.runtime.errors import InputError


def fetch_outputs(repo: Repo, entries: Mapping[str, LockEntry]) -> None:
    """Have in the workspace what some stages have written, from the cache, or from the remote where there is one.

    Args:
        entries: those of dvc.lock, by stage.

    Raises:
        InputError: DVC does not find it, or cannot write it.
    """
    paths = sorted(path for entry in entries.values() for path in _places(repo, entry))
    if not paths:
        return
    verb = "pull" if has_remote(repo) else "checkout"
    with _in_one_line(verb):
        getattr(repo, verb)(paths, force=True)


def send_outputs(repo: Repo, entry: LockEntry) -> None:
    """Put what a stage has written into the remote, if there is one.

    Raises:
        InputError: the remote does not take it.
    """
    if has_remote(repo):
        with _in_one_line("push"):
            repo.push(_places(repo, entry))


def _places(repo: Repo, entry: LockEntry) -> list[str]:
    # In full: DVC takes others as relative to the current folder.
    return [str(Path(repo.root_dir) / path) for path in written_by(entry)]


@contextmanager
def _in_one_line(verb: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # those of a remote's library are of any class
        get_logger("frcnn").debug("dvc %s failed", verb, exc_info=True)
        text = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"dvc {verb}: {text}") from error
