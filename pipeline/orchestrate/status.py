"""What `frcnn status` says: which stages would run now, and because of what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dvc.repo import Repo

from pipeline.code_locks.lock import CodeError, CodeLock, read_lock
from pipeline.orchestrate.code_stage import current_locks, md5_of
from pipeline.orchestrate.graph import LockFile, nodes_of, opened, stages_of
from pipeline.own_code import own_code
from pipeline.params.file import load_params
from pipeline.words import count_text

_MOST_NAMED = 4


def stage_status(root: Path, why: bool = False) -> list[str]:
    """One line per stage that would run, with the reason, and a line on all.

    Args:
        why: below a stage whose code has changed also the chain of imports by which it comes to each changed module.

    Raises:
        InputError: params.yaml or the graph is wrong, or a module is no Python.
    """
    root = Path(root).resolve()
    load_params(root / "params.yaml")
    locks, ran = current_locks(root), LockFile(root).stages()
    with opened(root) as repo:
        nodes, addressed = nodes_of(repo), {name: stage.addressing for name, stage in stages_of(repo).items()}
        differs: Mapping[str, Any] = repo.status()
        written = {out: name for name, node in nodes.items() for out in node.outs}
        reasons: dict[str, list[str]] = {}
        chains: dict[str, list[str]] = {}
        lines = []
        for name, node in nodes.items():
            if name not in ran:
                own = ["has not run"]
            else:
                code = _code_changes(repo, ran[name], locks)
                own = [f"code: {_some(code)}"] if code else []
                own += _other_changes(differs.get(addressed[name], ()), written)
                chains[name] = _chains(node.command, code) if why else []
            if own:
                reasons[name] = own
            elif before := [other for other in node.upstream if other in reasons]:
                reasons[name] = [f"only if the output of {_some(before)} changes"]
    width = max(map(len, nodes), default=0)
    for name, own in reasons.items():
        lines.append(f"{name:{width}}  {'; '.join(own)}")
        lines += [f"{'':{width}}    {chain}" for chain in chains.get(name, ())]
    if not reasons:
        return [f"{count_text(len(nodes), 'stage')}, all up to date"]
    return [*lines, f"{len(reasons)} of {count_text(len(nodes), 'stage')} would run; dvc repro runs them"]


def _code_changes(repo: Repo, entry: Mapping[str, Any], locks: Mapping[str, CodeLock]) -> list[str]:
    """What has changed of the code since a stage of dvc.lock ran: modules by path, libraries with both versions."""
    changes: list[str] = []
    for dep in entry.get("deps") or ():
        lock = locks.get(dep["path"])
        if lock is not None and dep["md5"] != md5_of(lock):
            earlier = _lock_of(repo, dep["md5"])
            changes += ["not known, the cache lacks its lock"] if earlier is None else earlier.changes(lock)
    return changes


def _lock_of(repo: Repo, digest: str) -> CodeLock | None:
    """A lock as DVC's cache has it; None where it is not there."""
    try:
        return read_lock(Path(repo.cache.local.oid_to_path(digest)))
    except CodeError:
        return None


def _other_changes(found: Sequence[Any], written: Mapping[str, str]) -> list[str]:
    """What DVC finds changed of a stage besides its code and what other stages write."""
    reasons = []
    for item in found:
        if item == "changed command":
            reasons.append("its command")
        for path, state in (item.get("changed deps") or {}).items() if isinstance(item, dict) else ():
            if isinstance(state, dict):  # a file of parameters
                reasons.append(_some([f"{path}: {key}" if i == 0 else key for i, key in enumerate(state)]))
            elif path not in written and not path.startswith("data/code/"):
                reasons.append(f"{path} {state}")
        for path, state in (item.get("changed outs") or {}).items() if isinstance(item, dict) else ():
            reasons.append(f"{path} {state}")
    return reasons


def _chains(command: str, changes: Sequence[str]) -> list[str]:
    words = command.split()
    paths = own_code().paths_to(words[words.index("-m") + 1]) if "-m" in words else {}
    return [" > ".join(paths[change]) for change in changes if len(paths.get(change, ())) > 1]


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - _MOST_NAMED} more" if len(items) > _MOST_NAMED else ""
    return ", ".join(items[:_MOST_NAMED]) + more
