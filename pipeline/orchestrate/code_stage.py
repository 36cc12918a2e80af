"""Stage `code`, which runs before DVC is asked what is up to date: its locks are what other stages depend on."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline.artifacts.atomic import write_text
from pipeline.graphs.present import check_same_family, extras_in, graph_in, graph_locks, present_graph
from pipeline.orchestrate.graph import LockFile
from pipeline.orchestrate.workspace import environment_in
from pipeline.params.file import load_params
from pipeline.runtime.code_locks.lock import CodeError, CodeLock, parse_lock, read_lock
from pipeline.runtime.errors import InputError
from pipeline.runtime.own_code import CODE_STAGE, LOCKS, MEMO, lock_name, stage_locks
from pipeline.runtime.yaml_files import YamlError, read_yaml


def current_locks(root: Path) -> dict[str, CodeLock]:
    """The present locks of the code that a project's graph runs, by their paths in the project.

    Raises:
        InputError: dvc.yaml is wrong, or a module is not valid Python or not there.
    """
    memo = Path(root) / ".dvc/tmp/frcnn" / MEMO
    try:
        return {(LOCKS / f"{name}.json").as_posix(): lock for name, lock in graph_locks(root, memo).items()}
    except CodeError as error:
        raise InputError(str(error)) from None


def _current_locks(root: Path, paths: Iterable[str]) -> dict[str, CodeLock]:
    """Those of `current_locks` that have one of these paths."""
    wanted = {Path(path).stem for path in paths}
    code = [(module, family) for module, family in present_graph(root).code() if lock_name(module, family) in wanted]
    return _locks_of(code, root)


def locks_of_graphs(root: Path, graphs: Iterable[str]) -> dict[str, CodeLock]:
    """The locks of the code of a project that some graphs run, given by the texts of their dvc.yaml, by path.

    Raises:
        InputError: a text is not a graph, or a module is not valid Python or not there.
    """
    stages = {stage for graph in dict.fromkeys(graphs) for stage in graph_in(graph).code()}
    return _locks_of(stages, root)


def _locks_of(stages: Iterable[tuple[str, str]], root: Path) -> dict[str, CodeLock]:
    root = Path(root)
    try:
        locks = stage_locks(stages, root / ".dvc/tmp/frcnn" / MEMO, root, extras_in(root / "params.yaml"))
    except CodeError as error:
        raise InputError(str(error)) from None
    return {(LOCKS / f"{name}.json").as_posix(): lock for name, lock in locks.items()}


def md5_of(lock: CodeLock) -> str:
    """The digest that DVC has of the lock's file."""
    return hashlib.md5(lock.text().encode(), usedforsecurity=False).hexdigest()


def lock_code(root: Path) -> None:
    """Check params.yaml of the project in `root`, as stage `code` does, and run that stage where its locks are not
    those of the code as it is now.

    Raises:
        InputError: params.yaml or a module is wrong, it is not of the graph's family, or the stage failed.
    """
    root = Path(root).resolve()
    if not _has_code_stage(root):
        return
    load_params(root / "params.yaml")
    check_same_family(root)
    if _is_locked(root, current_locks(root)):
        return
    result = _python(root, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", CODE_STAGE)
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if "error: " in line or line.startswith("ERROR: ")]
        first = lines[0].removeprefix("ERROR: ").removeprefix(f"{CODE_STAGE}: error: ") if lines else ""
        raise InputError(first or f"stage {CODE_STAGE} failed; run dvc repro {CODE_STAGE}")


def write_locks(root: Path, expected: Mapping[str, str], in_this_process: bool = False) -> None:
    """Have the locks in `root` without DVC, and compare some of them with what another clone has.

    Args:
        expected: the texts of that clone's, by path.
        in_this_process: write those of `expected` only, in this process, which must have begun with the present code
            of `root`. Otherwise a process of its own writes them all.

    Raises:
        InputError: the code or the libraries of the two differ, or a module is not valid Python.
    """
    root = Path(root).resolve()
    if in_this_process:
        (root / LOCKS).mkdir(parents=True, exist_ok=True)
        for path, lock in _current_locks(root, expected).items():
            write_text(root / path, lock.text())
    else:
        result = _python(root, "-m", f"stages.{CODE_STAGE}", "--out", LOCKS.as_posix())
        if result.returncode:
            raise InputError(f"{root}: {' '.join(result.stderr.split())[-300:]}")
    for path, text in expected.items():
        try:
            changes = parse_lock(text, path).changes(read_lock(root / path))
        except CodeError as error:
            raise InputError(f"{root}: {error}") from None
        if changes:
            raise InputError(
                f"{root}: the code or the libraries here are not the coordinator's ({', '.join(changes[:3])}); run "
                "make setup in both clones, and remove modules that git ignores"
            )


def _python(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=root,
        env=environment_in(root, os.environ),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _has_code_stage(root: Path) -> bool:
    try:
        return CODE_STAGE in read_yaml(root / "dvc.yaml")["stages"]
    except (OSError, YamlError, KeyError, TypeError):
        return False  # DVC names what is wrong with it


def _is_locked(root: Path, locks: Mapping[str, CodeLock]) -> bool:
    """Whether the locks of stage `code`, on disk and in dvc.lock, match the present code."""
    entry = LockFile(root).stages().get(CODE_STAGE) or {}
    written = {out["path"]: out.get("md5") for out in entry.get("outs") or ()}
    if written != {path: md5_of(lock) for path, lock in locks.items()}:
        return False
    try:
        texts = {path: (root / path).read_text(encoding="utf-8") for path in written}
        return bool(texts) and all(text == locks[path].text() for path, text in texts.items())
    except (OSError, UnicodeDecodeError):
        return False
