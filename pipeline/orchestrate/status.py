"""`frcnn status`: which stages would run now, and why.

DVC is asked stage by stage and without its locks, which a stage at work holds on what it reads and writes.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from dvc.repo import Repo
from dvc.stage.utils import split_params_deps

from pipeline.graphs.command import StageCommand
from pipeline.graphs.present import check_same_family
from pipeline.orchestrate.cached_results import CachedResults
from pipeline.orchestrate.code_stage import current_locks, md5_of
from pipeline.orchestrate.graph import LockFile, nodes_of, opened, stages_of
from pipeline.params.changes import differing
from pipeline.params.file import load_params
from pipeline.params.reading import read_content
from pipeline.runtime.code_locks.lock import CodeError, CodeLock, read_lock
from pipeline.runtime.code_locks.tree import SourceTree
from pipeline.runtime.errors import InputError
from pipeline.runtime.own_code import LOCKS, MEMO, locked_modules, own_code
from pipeline.runtime.words import count_text

_MOST_NAMED = 4
_COLUMNS = 100
_CACHED = "in DVC's cache"
_STATES = {"modified": "has changed", "deleted": "is missing", "new": "is new", "not in cache": "is not in the cache"}


def stage_status(root: Path, why: bool = False) -> list[str]:
    """A line per stage that would run, with the reason and whether DVC's cache has its result, and two on all.

    Args:
        why: below a stage whose code has changed also the chain of imports by which it comes to each changed module.

    Raises:
        InputError: params.yaml or the graph is wrong, or a module is not valid Python.
    """
    root = Path(root).resolve()
    with opened(root) as repo:
        load_params(root / "params.yaml")
        check_same_family(root)
        found = _Changes(repo, current_locks(root))
        tree = own_code(root / ".dvc/tmp/frcnn" / MEMO, root)
        nodes = nodes_of(repo)
        if not nodes:
            raise InputError(f"{root / 'dvc.yaml'}: no stages; restore it from git")
        cache = CachedResults(repo, read_content(root / "params.yaml"), found.code_digests)
        ran = LockFile(root).stages()
        width, lines, own, after = max(map(len, nodes), default=0), list[str](), set[str](), set[str]()
        cached = 0
        for name, node in nodes.items():
            modules = found.of_code(name)
            at_work = found.at_work(name)
            reasons = at_work or [*([f"code: {_some(modules)}"] if modules else []), *found.besides(name)]
            if reasons:
                own.add(name)
            elif before := [other for other in node.upstream if other in own | after]:
                after.add(name)
                reasons = [f"only if the output of {_some(before, 'or')} changes"]
            else:
                cache.is_up_to_date(name, ran.get(name))
            if reasons and not at_work and cache.has(name):
                cached += 1
                reasons[-1] += f" ({_CACHED})"
            lines += _row(name, width, "; ".join(reasons)) if reasons else []
            if why and modules:
                lines += [line for chain in _chains(tree, node.command, modules) for line in _row("", width + 2, chain)]
    if not lines:
        return [f"{count_text(len(nodes), 'stage')}, all up to date"]
    depends = f", and {len(after)} more if what they read changes" if after else ""
    return [
        *lines,
        f"{len(own)} of {count_text(len(nodes), 'stage')} would run{depends}",
        _how(cached, len(own | after)),
    ]


def _how(cached: int, count: int) -> str:
    """What `frcnn repro` does about stages that would run, so many of them with a result in DVC's cache."""
    if not cached:
        return "frcnn repro runs them, or takes from DVC's cache what it has there"
    if cached == count:
        return "frcnn repro takes the results from DVC's cache and runs none"
    return f"frcnn repro takes the results of {cached} from DVC's cache and runs the others"


class _Changes:
    """What has changed since each stage of a repository last ran, as DVC's lock files say what that run was of."""

    def __init__(self, repo: Repo, locks: Mapping[str, CodeLock]) -> None:
        self._repo, self._root, self._locks = repo, Path(repo.root_dir), locks
        self.code_digests = {path: md5_of(lock) for path, lock in locks.items()}
        self._stages = stages_of(repo)
        self._written = {out.fs_path: out.hash_info for stage in self._stages.values() for out in stage.outs}
        self._busy = _busy_paths(self._root)

    def at_work(self, name: str) -> list[str]:
        """That a stage runs just now, where it does."""
        runs = {self._busy[out.fs_path] for out in self._stages[name].outs if out.fs_path in self._busy}
        return [f"runs now (process {pid})" for pid in sorted(runs)]

    def of_code(self, name: str) -> list[str]:
        """The modules of a stage that have changed, by path; libraries with both versions."""
        changes: list[str] = []
        if self._stages[name].frozen:
            return changes  # DVC looks at none of its dependencies
        for dep in self._stages[name].deps:
            path = self._relative(dep)
            lock = self._locks.get(path)
            if not _has_run(self._stages[name]) or not path.startswith(f"{LOCKS.as_posix()}/"):
                continue
            if lock is None:
                changes.append(f"{path} is of code that no command runs")
                continue
            if not dep.hash_info:
                changes.append("its last run had no code lock")
            elif dep.hash_info.value != md5_of(lock):
                earlier = self._earlier_lock(path, dep.hash_info.value)
                changes += ["has changed (its earlier lock is not in the cache)"]
                if earlier is not None:
                    changes[-1:] = earlier.changes(lock)
        return changes

    def besides(self, name: str) -> list[str]:
        """What has changed besides the code."""
        stage = self._stages[name]
        if stage.cmd and not _has_run(stage):
            return ["has not run"]
        params, deps = ([], []) if stage.frozen else split_params_deps(stage)
        reasons = [f"params: {_some(keys)}" for dep in params if (keys := list(_changed_keys(dep)))]
        for dep in deps:
            path, written = self._relative(dep), self._written.get(dep.fs_path)
            if path.startswith(f"{LOCKS.as_posix()}/"):
                continue
            if written is None:
                reasons += [f"{path} {_STATES.get(state, state)}" for state in dep.status().values()]
            elif written and dep.hash_info != written:
                reasons.append(f"{path} has changed")
        for out in stage.outs:
            reasons += [f"{self._relative(out)} {_STATES.get(state, state)}" for state in out.status().values()]
        # The command names the lock, so that there is nothing more to say of one that ran without.
        if stage.changed_stage() and not any("no code lock" in change for change in self.of_code(name)):
            reasons.append("its command has changed")
        return reasons

    def _earlier_lock(self, path: str, digest: str) -> CodeLock | None:
        """A lock by its digest, as DVC's cache or else the workspace has it; None where it is not there."""
        for place in (Path(self._repo.cache.local.oid_to_path(digest)), self._root / path):
            try:
                lock = read_lock(place)
            except CodeError:
                continue
            if md5_of(lock) == digest:
                return lock
        return None

    def _relative(self, place: Any) -> str:
        path = Path(place.fs_path)
        return path.relative_to(self._root).as_posix() if path.is_relative_to(self._root) else str(path)


def _has_run(stage: Any) -> bool:
    return any(place.hash_info for place in (*stage.deps, *stage.outs))


def _changed_keys(dep: Any) -> Iterator[str]:
    """The keys of a parameter file whose values differ from the last run."""
    earlier, now = dep.hash_info.value or {}, dep.read_params()
    yield from differing(earlier, {section: now[section] for section in dep.params if section in now})


def _busy_paths(root: Path) -> dict[str, int]:
    """What dvc commands at work are writing, and their processes, by DVC's table of busy paths."""
    try:
        table = json.loads((root / ".dvc/tmp/rwlock").read_text(encoding="utf-8"))
        pids = {path: int(info["pid"]) for path, info in table.get("write", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {path: pid for path, pid in pids.items() if psutil.pid_exists(pid)}


def _chains(tree: SourceTree, command: str, changes: Sequence[str]) -> list[str]:
    try:
        parsed = StageCommand.parse(command)
    except InputError:
        return []
    start, *parts = locked_modules(tree, parsed.module, parsed.family)
    paths = tree.paths_to(start, parts)
    return [" > ".join(paths[change]) for change in changes if len(paths.get(change, ())) > 1]


def _row(name: str, width: int, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _COLUMNS,
        initial_indent=f"{name:{width}}  ",
        subsequent_indent=" " * (width + 6),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _some(items: Sequence[str], last: str = "and") -> str:
    if len(items) > _MOST_NAMED:
        return f"{', '.join(items[:_MOST_NAMED])} {last} {len(items) - _MOST_NAMED} more"
    return f" {last} ".join(filter(None, (", ".join(items[:-1]), items[-1])))
