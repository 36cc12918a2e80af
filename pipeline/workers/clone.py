"""A worker's clone, made what a request needs: a revision's code, its parameters and graph, the
lock of the stages before."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipeline.artifacts.atomic import write_text
from pipeline.graphs.composing import GRAPHS
from pipeline.orchestrate.lock_entries import LockEntry
from pipeline.runtime.errors import InputError
from pipeline.runtime.own_code import PACKAGES
from pipeline.runtime.yaml_files import dump_yaml
from pipeline.workers.git import git
from pipeline.workers.setting import FILES, Setting

_OF_A_RUN = (*FILES, "dvc.lock")
_CODE = (*(f"{name}/*{suffix}" for name in PACKAGES for suffix in (".py", ".yaml")), f"{GRAPHS}/*.yaml")
"""Modules, and what families and presets have beside them: parameters and graphs."""


def revision_of(root: Path) -> str:
    """The commit that workers are to run.

    Raises:
        InputError: no git repository, or files other than params.yaml, dvc.yaml and dvc.lock are not as committed, or a
            module, preset or graph of the project is not committed.
    """
    _refuse_changes(root, "workers run what is committed; commit it, or put it back")
    return git(root, "rev-parse", "HEAD").strip()


def prepare_clone(root: Path, revision: str, setting: Setting, before: Mapping[str, LockEntry]) -> bool:
    """Check out `revision` in a clone that a worker has to itself, and write params.yaml, dvc.yaml and dvc.lock there.

    Args:
        before: lock entries by stage.

    Returns:
        Whether the clone had another commit before.

    Raises:
        InputError: something in the clone is not as committed, or the revision is nowhere to be had.
    """
    _refuse_changes(root, "a worker's clone must be as committed; put it back")
    moves = git(root, "rev-parse", "HEAD").strip() != revision
    if moves:
        if not _has(root, revision):
            git(root, "fetch", "--quiet", "--all")
        if not _has(root, revision):
            raise InputError(f"{root}: has no commit {revision[:12]}, nor has its remote; push it")
        git(root, "checkout", "--quiet", "--force", "--detach", revision)
    for name, text in setting.files().items():
        write_text(root / name, text)
    write_lock(root, before)
    return moves


def write_lock(root: Path, stages: Mapping[str, LockEntry]) -> None:
    """Have a dvc.lock of just these stages."""
    write_text(root / "dvc.lock", lock_text(stages))


def lock_text(stages: Mapping[str, LockEntry]) -> str:
    """The text of a dvc.lock of just these stages."""
    content = {"schema": "2.0", "stages": {name: dict(entry) for name, entry in stages.items()}}
    return dump_yaml(content)


def _refuse_changes(root: Path, remedy: str) -> None:
    listed = git(root, "status", "--porcelain", "--untracked-files=no").splitlines()
    changed = [line[3:] for line in listed if line[3:] not in _OF_A_RUN]
    if changed:
        raise InputError(f"{root / changed[0]}: changed since the last commit; {remedy}")
    # Uncommitted files, even those that git ignores, would be imported or read here and be missing elsewhere.
    new = git(root, "ls-files", "-z", "--others", "--", *_CODE)
    if new:
        first = root / new.split("\0")[0]
        raise InputError(f"{first}: not committed; {remedy.replace('put it back', 'remove it')}")


def _has(root: Path, revision: str) -> bool:
    command = ["git", "-C", str(root), "cat-file", "-e", f"{revision}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
