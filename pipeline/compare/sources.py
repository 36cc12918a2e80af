"""Where results to compare come from: a project's workspace, or a DVC experiment."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.families.registry import DEFAULT
from pipeline.orchestrate.graph import LockFile, opened
from pipeline.runtime.errors import InputError
from pipeline.runtime.run_times import RunTime, read_runs
from pipeline.runtime.yaml_files import parse_yaml
from pipeline.workers.git import git

Lock = Mapping[str, Any]
_EXPERIMENTS = "refs/exps"


@dataclass(frozen=True)
class Source:
    """Results of one project, of any families.

    Attributes:
        title: what its rows are called by, beside the network; empty for the workspace that the command runs in.
        root: the project, whose graphs/ says which stages a family has. lock: the entries of its dvc.lock, by stage.
        place: where a file that a stage wrote lies, by its path in the project; None where it is not to be had.
        times: when stages last ran in the workspace, and what they took.
        families: those whose results are of interest, by name; None: all.
    """

    title: str
    root: Path
    lock: Lock
    place: Callable[[str], Path | None] = field(repr=False)
    times: Mapping[str, RunTime] = field(default_factory=dict, repr=False)
    families: tuple[str, ...] | None = None


def source_of(root: Path, name: str) -> Source:
    """A project's folder, or an experiment of the project in `root`.

    Raises:
        InputError: it is neither.
    """
    folder = Path(name)
    if (folder / "dvc.yaml").is_file():
        return workspace(folder, str(name))
    revision = _experiments(root).get(name)
    if revision is None:
        raise InputError(
            f"{name}: is neither a project's folder, which has a dvc.yaml, nor an experiment here; dvc exp list names "
            "those"
        )
    return _experiment(root, name, revision)


def workspace(root: Path, title: str = "") -> Source:
    """What lies in a project's data/."""

    def place(path: str) -> Path | None:
        file = Path(root) / path
        return file if file.is_file() else None

    return Source(title, Path(root), LockFile(root).stages(), place, read_runs(root))


def _experiments(root: Path) -> dict[str, str]:
    """The commit of each experiment of the project, by name; the newest if several share a name."""
    try:
        listed = git(root, "for-each-ref", "--sort=creatordate", "--format=%(refname) %(objectname)", _EXPERIMENTS)
    except InputError:  # no git repository, which has no experiments
        return {}
    pairs = (line.split() for line in listed.splitlines())
    return {reference.rpartition("/")[2]: commit for reference, commit in pairs if reference.count("/") > 3}


def _experiment(root: Path, name: str, revision: str) -> Source:
    lock: Lock = _stored_yaml(root, name, revision, "dvc.lock", "stages")
    family = _stored_yaml(root, name, revision, "params.yaml").get("family", DEFAULT)
    with opened(root) as repo:
        cache = repo.cache.local
    try:
        outs = [out for entry in lock.values() for out in entry.get("outs") or ()]
        digests = {out["path"]: out["md5"] for out in outs if "md5" in out}
    except (AttributeError, LookupError, TypeError) as error:
        raise InputError(f"dvc.lock of {name}: is damaged ({error!r}); run the experiment again") from error

    def stored(digest: str) -> Path | None:
        file = Path(cache.oid_to_path(digest))
        return file if file.is_file() else None

    def place(path: str) -> Path | None:
        if path in digests:
            return stored(digests[path])
        folder, _, inner = path.rpartition("/")
        listing = stored(digests[folder]) if folder in digests else None
        if listing is None:
            return None
        try:
            files = {item["relpath"]: item["md5"] for item in json.loads(listing.read_text(encoding="utf-8"))}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(f"{listing}: is damaged ({error!r}); remove it and run {name} again") from error
        return stored(files[inner]) if inner in files else None

    return Source(name, root, lock, place, families=(str(family),))


def _stored_yaml(root: Path, name: str, revision: str, file: str, *keys: str) -> Mapping[str, Any]:
    """A file of the project in an experiment's version, or one of its keys."""
    prefix = git(root, "rev-parse", "--show-prefix").strip()
    content = parse_yaml(git(root, "show", f"{revision}:{prefix}{file}"), f"{file} of {name}")
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    if not isinstance(content, dict):
        raise InputError(f"{file} of {name}: is not a mapping{' of stages' if keys else ''}; run the experiment again")
    return content
