"""Results of workers in the coordinator's clone: dvc.lock, and the artifacts in the workspace."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.errors import InputError
from pipeline.orchestrate.graph import LockFile, opened
from pipeline.orchestrate.workspace import environment_in
from pipeline.workers.clone import write_lock
from pipeline.workers.lock_entries import LockEntry, written_by
from pipeline.workers.results import has_remote


def bring_home(root: Path, lock: Mapping[str, LockEntry], tell: Callable[[str], None]) -> None:
    """Have `lock` as these stages' part of dvc.lock, and what they wrote in the workspace.

    Raises:
        InputError: something is not to be had.
    """
    write_lock(root, {**LockFile(root).stages(), **lock})
    paths = sorted(path for entry in lock.values() for path in written_by(entry))
    tell(f"brings {len(paths)} folders into {root / 'data'}")
    with opened(root) as repo:
        verb = "pull" if has_remote(repo) else "checkout"
    dvc(root, verb, "--force", *paths)


def dvc(root: Path, *arguments: str) -> str:
    """What a dvc command prints.

    Raises:
        InputError: it failed; its last line says why.
    """
    # `dvc exp` makes commits of its own, for which git wants a name.
    names = {f"GIT_{who}_{what}": "frcnn" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    result = subprocess.run(
        [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments],
        cwd=root,
        env={**names, **environment_in(root, os.environ)},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        told = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or [result.stderr.strip()]
        raise InputError(f"dvc {' '.join(arguments[:2])}: {told[-1]}")
    return result.stdout
