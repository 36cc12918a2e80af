"""The graph as DVC has it: its stages, what each needs to run, and which of them are up to date."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.orchestrate.overlaid import OverlaidFiles
from pipeline.runtime.errors import InputError
from pipeline.runtime.own_code import CODE_STAGE
from pipeline.runtime.words import nearest_text
from pipeline.runtime.yaml_files import YamlError, read_yaml


class StageMeta(BaseModel):
    """The `meta` of a stage in dvc.yaml: where and how it runs, which does not affect its result."""

    model_config = ConfigDict(extra="forbid")

    step: str = ""
    gpu: int = Field(default=0, ge=0, le=1)
    cores: int = Field(default=1, ge=1)
    timeout_minutes: float | None = Field(default=None, gt=0)
    retries: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class StageNode:
    """One stage of dvc.yaml. `upstream` names the stages whose outputs it reads; `outs` are relative to the root."""

    name: str
    title: str
    command: str
    upstream: tuple[str, ...]
    outs: tuple[str, ...]
    meta: StageMeta

    @property
    def label(self) -> str:
        """Its title for people: its step, what it does, and its name."""
        own = f"{self.title} ({self.name})" if self.title else self.name
        return f"{self.meta.step}: {own}" if self.meta.step else own


@dataclass(frozen=True)
class Graph:
    """`nodes` by name, every stage after those it reads from; `changed` are not as dvc.lock says."""

    nodes: Mapping[str, StageNode]
    changed: frozenset[str]


def read_graph(root: Path, targets: Sequence[str] = ()) -> Graph:
    """The stages of `root`/dvc.yaml that `targets` need, all without targets.

    Raises:
        InputError: DVC cannot read the graph, a target is not a stage, or a stage's `meta` has an unknown key or value.
    """
    with opened(root) as repo:
        nodes = nodes_of(repo, targets)
        stages, differs = stages_of(repo), repo.status()
        changed = frozenset(name for name in nodes if stages[name].addressing in differs)
    return Graph(nodes, changed)


@contextmanager
def opened(root: Path, texts: Mapping[str, str] | None = None, wait_for_lock: bool = False) -> Iterator[Repo]:
    """DVC's repository in `root`.

    Args:
        texts: of files there, such as dvc.yaml, which DVC is to read in place of what they hold.
        wait_for_lock: wait for another dvc command that has locked the repository, instead of raising.

    Raises:
        InputError: there is none, a run is under way that has locked what is asked for, or DVC cannot read it or what
            is asked of it inside.
    """
    root = Path(root).resolve()
    if not (root / ".dvc").is_dir():
        raise InputError(f"{root}: no DVC repository here; run it in the project's folder")
    try:
        with Repo(str(root), _wait_for_lock=wait_for_lock) as repo:
            if texts:
                repo.fs = OverlaidFiles({root / name: text for name, text in texts.items()})
            yield repo
    except LockError as error:
        pids = sorted(set(map(int, re.findall(r"\(PID (\d+)\)", str(error)))))
        process = f" ({', '.join(f'process {pid}' for pid in pids)})" if pids else ""
        raise InputError(
            f"a run is under way here{process}, and DVC cannot look at what it reads and writes; wait for it, or stop "
            "it; frcnn status tells what runs now"
        ) from None
    except DvcException as error:
        raise InputError(f"dvc cannot read the graph: {' '.join(str(error).split())}") from None


def nodes_of(repo: Repo, targets: Sequence[str] = ()) -> dict[str, StageNode]:
    """The stages that `targets` need, all without targets, every one after those it reads from.

    Raises:
        InputError: a target is not a stage, or a stage's `meta` has an unknown key or value.
    """
    root, stages = Path(repo.root_dir), stages_of(repo)
    graph = repo.index.graph.subgraph(stages.values())
    reads_from = networkx.relabel_nodes(graph, {stage: name for name, stage in stages.items()}, copy=True)
    order = _with_all_they_need(reads_from, list(stages), targets)
    return {name: _node(root, name, stages[name], sorted(reads_from.successors(name))) for name in order}


def stages_of(repo: Repo) -> dict[str, Any]:
    """DVC's stages except `code`, by their names in their own folder."""
    named = {_name(Path(repo.root_dir), stage): stage for stage in repo.index.stages}
    return {name: stage for name, stage in named.items() if name != CODE_STAGE}


def _with_all_they_need(reads_from: networkx.DiGraph, in_file: list[str], targets: Sequence[str]) -> list[str]:
    for target in targets:
        if target not in reads_from:
            near = nearest_text(target, in_file)
            raise InputError(f"{target}: no such stage in dvc.yaml{near}; dvc stage list names them")
    wanted = set(targets or reads_from)
    for target in targets:
        wanted |= networkx.descendants(reads_from, target)
    return [
        name
        for name in networkx.lexicographical_topological_sort(reads_from.reverse(), in_file.index)
        if name in wanted
    ]


def _name(root: Path, stage: Any) -> str:
    # What DVC calls a stage when asked in its own folder; `stage.addressing` depends on the folder one stands in.
    file = Path(stage.path).relative_to(root).as_posix()
    name = getattr(stage, "name", None)
    return name if name and file == "dvc.yaml" else f"{file}:{name}" if name else file


def _node(root: Path, name: str, stage: Any, upstream: list[str]) -> StageNode:
    try:
        meta = StageMeta.model_validate(stage.meta or {})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in ("meta", *first["loc"]))
        raise InputError(f"dvc.yaml: stage {name}: {key}: {first['msg']}") from None
    outs = tuple(Path(out.fs_path).relative_to(root).as_posix() for out in stage.outs)
    return StageNode(name, stage.desc or "", stage.cmd or "", tuple(upstream), outs, meta)


class LockFile:
    """What each stage read and wrote, according to dvc.lock."""

    def __init__(self, root: Path) -> None:
        self._path = Path(root) / "dvc.lock"
        self._read: tuple[object, dict[str, Any]] = (None, {})

    def stages(self) -> dict[str, Any]:
        """The entry of each stage; empty before the first run, and while DVC is writing the file."""
        try:
            status = self._path.stat()
            version, read = (status.st_mtime_ns, status.st_size), self._read
            if read[0] != version:
                stages = read_yaml(self._path)["stages"]
                self._read = read = version, dict(stages)
        except (FileNotFoundError, YamlError, KeyError, TypeError, ValueError):
            return {}
        return read[1]

    def reads_what_was_written(self, node: StageNode) -> bool:
        """Whether the stage's last run read exactly what the stages before it have written since."""
        stages = self.stages()
        read = _digests(stages, node.name, "deps")
        for name in node.upstream:
            written = _digests(stages, name, "outs")
            used = {path: digest for path, digest in read.items() if any(_overlap(path, other) for other in written)}
            # DVC records no digest for a part of an output, so DVC decides about it.
            if not used or any(digest is None or written.get(path) != digest for path, digest in used.items()):
                return False
        return True


def _digests(stages: Mapping[str, Any], name: str, key: str) -> dict[str, str | None]:
    entry = stages.get(name) or {}
    return {item["path"]: item.get("md5") for item in entry.get(key) or ()}


def _overlap(one: str, other: str) -> bool:
    return Path(one).is_relative_to(other) or Path(other).is_relative_to(one)
