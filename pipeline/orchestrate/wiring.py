"""Keep the code part of dvc.yaml's deps equal to what the stages import. Data deps, params and outs stay as written."""

from __future__ import annotations

from pathlib import Path

from pipeline.artifacts.atomic import write_text
from pipeline.orchestrate.code_deps import modules_used_by
from pipeline.yaml_files import EditedYaml


def stage_module(command: str) -> Path:
    """The module that a stage's command (`python -m stages.NAME ...`) runs."""
    words = command.split()
    return Path(*words[words.index("-m") + 1].split(".")).with_suffix(".py")


def expected_code_deps(command: str, root: Path) -> list[str]:
    """The stage's module, then the library modules it uses, sorted."""
    module = stage_module(command)
    return [module.as_posix(), *sorted(path.as_posix() for path in modules_used_by(module, root))]


def rewire(root: Path) -> list[str]:
    """Rewrite the code deps in `root`/dvc.yaml, comments kept; returns the stages that changed."""
    path = root / "dvc.yaml"
    edited = EditedYaml(path.read_text(encoding="utf-8"), path)
    changed = []
    for name, stage in edited.content["stages"].items():
        data = [dep for dep in stage["deps"] if not dep.endswith(".py")]
        wanted = [*data, *expected_code_deps(stage["cmd"], root)]
        if list(stage["deps"]) != wanted:
            stage["deps"][:] = wanted
            changed.append(name)
    if changed:
        write_text(path, edited.text())
    return changed
