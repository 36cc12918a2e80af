"""Results of workers in the coordinator's clone: dvc.lock, and the artifacts in the workspace."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.orchestrate.graph import LockFile, opened
from pipeline.orchestrate.lock_entries import LockEntry, written_by
from pipeline.orchestrate.run_cache import has_remote
from pipeline.orchestrate.workspace import environment_in
from pipeline.runtime.errors import InputError
from pipeline.workers.clone import write_lock


def fetch_results(root: Path, lock: Mapping[str, LockEntry], log: Callable[[str], None]) -> None:
    """Put `lock` into dvc.lock as the entries of these stages, and what they wrote into the workspace.

    Raises:
        InputError: DVC cannot fetch one of them.
    """
    write_lock(root, {**LockFile(root).stages(), **lock})
    paths = sorted(path for entry in lock.values() for path in written_by(entry))
    log(f"fetches {len(paths)} folders into {root / 'data'}")
    with opened(root) as repo:
        verb = "pull" if has_remote(repo) else "checkout"
    _dvc(root, verb, "--force", *paths)


def _dvc(root: Path, *arguments: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments],
        cwd=root,
        env=environment_in(root, os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or [result.stderr.strip()]
        raise InputError(f"dvc {arguments[0]}: {errors[-1]}")
