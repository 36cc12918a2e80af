"""What workers have done for many experiments, as experiments of DVC's: `dvc exp show` lists them.

DVC keeps an experiment as a commit of params.yaml, dvc.yaml and dvc.lock under refs/exps. They are made here and not by
`dvc exp save`, which wants all artifacts of an experiment in the workspace: gigabytes each, and only the figures
are read.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dvc.repo import Repo

from pipeline.artifacts.atomic import write_text
from pipeline.families.family import Family
from pipeline.orchestrate.graph import LockFile, opened
from pipeline.orchestrate.lock_entries import LockEntry, written_by
from pipeline.runtime.own_code import CODE_STAGE
from pipeline.runtime.yaml_files import parse_yaml
from pipeline.workers.clone import lock_text
from pipeline.workers.git import git
from pipeline.workers.setting import Setting
from pipeline.workers.stored_files import keep_file, read_file

Figures = dict[str, dict[str, float]]
_FIGURES = Path(".dvc/tmp/frcnn-sweep.json")
_NOBODY = {f"GIT_{who}_{what}": "frcnn" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def keep_experiments(
    root: Path,
    experiments: Mapping[str, Setting],
    lock_of: Callable[[str], Mapping[str, LockEntry]],
    code: Mapping[str, str],
    log: Callable[[str], None],
) -> None:
    """Make an experiment on the current commit of each, in place of one of its name; the workspace stays as it is.

    Its dvc.lock keeps the workspace's entries of stages that its own graph does not have, which are other families'.

    Args:
        lock_of: the lock entries of one. code: the texts of all code locks, by path.

    Raises:
        InputError: git does not take it, or figures are not to be had.
    """
    base = git(root, "rev-parse", "HEAD").strip()
    figures, before = {}, LockFile(root).stages()
    with opened(root) as repo:
        for name, setting in experiments.items():
            stages: Mapping[str, Any] = parse_yaml(setting.graph, "dvc.yaml")["stages"]
            others = {stage: entry for stage, entry in before.items() if stage not in stages}
            own = {**_code_entry(repo, stages.get(CODE_STAGE), code), **lock_of(name)}
            figures[name] = _figures_of(repo, setting.family(), own)
            commit = _commit(root, name, {**setting.files(), "dvc.lock": lock_text({**others, **own})})
            git(root, "update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", commit)
            log(f"kept as the experiment {name}")
    write_text(root / _FIGURES, json.dumps(figures))


def forget_figures(root: Path) -> None:
    """Forget what `kept_figures` returns."""
    (root / _FIGURES).unlink(missing_ok=True)


def kept_figures(root: Path) -> dict[str, Figures]:
    """By the experiments last kept and by network, the numbers in metrics.json; none since `forget_figures`: empty."""
    try:
        kept: dict[str, Figures] = json.loads((root / _FIGURES).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return kept


def _code_entry(repo: Repo, stage: Mapping[str, Any] | None, code: Mapping[str, str]) -> dict[str, LockEntry]:
    """The lock entry of a graph's stage `code`, which no worker runs, with its outputs in the cache."""
    paths = [out for out in (stage or {}).get("outs") or () if out in code]
    if stage is None or not paths:
        return {}
    outs = []
    for path in sorted(paths):
        content = code[path].encode()
        outs.append({"path": path, "hash": "md5", "md5": keep_file(repo, content), "size": len(content)})
    return {CODE_STAGE: {"cmd": stage["cmd"], "outs": outs}}


def _figures_of(repo: Repo, family: Family, lock: Mapping[str, LockEntry]) -> Figures:
    """By network, of those that the graph evaluates."""
    found: Figures = {}
    for network in family.networks:
        entry = lock.get(f"evaluate_{network}")
        digest = written_by(entry).get(f"data/evaluate_{network}/metrics.json") if entry else None
        if digest is None:
            continue
        metrics = json.loads(read_file(repo, digest))
        found[network] = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    return found


def _commit(root: Path, message: str, files: Mapping[str, str]) -> str:
    """A commit on top of the current one in which these files have these texts; no branch and no index has it."""
    prefix = git(root, "rev-parse", "--show-prefix").strip()
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git(root, "read-tree", "HEAD", **index)
        for name, text in files.items():
            blob = git(root, "hash-object", "-w", "--stdin", stdin=text).strip()
            git(root, "update-index", "--add", "--cacheinfo", f"100644,{blob},{prefix}{name}", **index)
        tree = git(root, "write-tree", **index).strip()
    return git(root, "commit-tree", tree, "-p", "HEAD", "-m", message, **_NOBODY).strip()
