"""A copy of the project's sources to edit, and the stages of two families whose locks an edit may change."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import yaml

from pipeline.graphs.command import StageCommand
from pipeline.runtime.code_locks.lock import CodeLock
from pipeline.runtime.own_code import lock_name, locked_modules, own_code
from tests.conftest import ROOT
from tests.families.points_project import FILES, PACKAGE

GRAPH = {
    name: StageCommand.parse(stage["cmd"])
    for path in (ROOT / "dvc.yaml", FILES / "graph.yaml")
    for name, stage in yaml.safe_load(path.read_text())["stages"].items()
    if name != "code"
}
"""The stages of two families: Faster R-CNN and the made-up one."""


def module_of(stage: str) -> str:
    return f"stages.{GRAPH[stage].module}"


def lock_of(stage: str) -> str:
    return lock_name(GRAPH[stage].module, GRAPH[stage].family)


MODULES = sorted({module_of(stage) for stage in GRAPH})


def stages_of(*names: str) -> set[str]:
    """The stages that run a module of stages/ with one of these names."""
    found = {stage for stage in GRAPH if module_of(stage).removeprefix("stages.") in names}
    assert {module_of(stage).removeprefix("stages.") for stage in found} == set(names)
    return found


RCNN, POINTS = "pipeline/families/faster_rcnn", "pipeline/families/points"


class Sources:
    """A copy of the project's sources to edit."""

    def __init__(self, root: Path) -> None:
        self.root, self._tree = root, own_code(root=root)
        for folder in ("pipeline", "stages"):
            shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(PACKAGE, root / POINTS, ignore=shutil.ignore_patterns("__pycache__"))
        self.locks = self._locks()

    def _locks(self) -> dict[str, CodeLock]:
        run = {lock_of(stage): locked_modules(self._tree, c.module, c.family) for stage, c in GRAPH.items()}
        with self._tree.at_one_time():
            return {name: self._tree.lock(module, parts) for name, (module, *parts) in run.items()}

    @property
    def paths(self) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*.py"))

    def matching(self, *patterns: str) -> list[str]:
        found = {
            pattern: [path.relative_to(self.root).as_posix() for path in self.root.glob(pattern)]
            for pattern in patterns
        }
        assert all(found.values()), f"no such sources: {found}"
        return sorted({path for paths in found.values() for path in paths})

    def locks_with(self, edits: Mapping[str, str]) -> dict[str, CodeLock]:
        """The locks with new texts of modules; the old ones are put back."""
        before = {path: (self.root / path).read_text(encoding="utf-8") for path in edits}
        try:
            for path, text in edits.items():
                assert text != before[path], path
                (self.root / path).write_text(text, encoding="utf-8")
            return self._locks()
        finally:
            for path, text in before.items():
                (self.root / path).write_text(text, encoding="utf-8")

    def rerun_by(self, edits: Mapping[str, str], after: Mapping[str, str] | None = None) -> set[str]:
        """The stages that new texts of modules rerun, after others."""
        before = self.locks_with(after) if after else self.locks
        changed = {name for name, lock in self.locks_with({**(after or {}), **edits}).items() if lock != before[name]}
        return {stage for stage in GRAPH if lock_of(stage) in changed}

    def rerun_by_editing(self, paths: Iterable[str], edit: Callable[[str], str]) -> set[str]:
        return self.rerun_by({path: edit((self.root / path).read_text(encoding="utf-8")) for path in paths})
