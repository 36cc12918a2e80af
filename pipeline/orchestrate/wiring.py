"""Keep the code part of dvc.yaml's deps equal to what the stages import. Data deps, params and outs stay as written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.artifacts.atomic import atomic_file
from pipeline.orchestrate.code_deps import modules_used_by


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
    yaml = YAML()
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = root / "dvc.yaml"
    content: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"))
    changed = []
    for name, stage in content["stages"].items():
        data = [dep for dep in stage["deps"] if not dep.endswith(".py")]
        wanted = [*data, *expected_code_deps(stage["cmd"], root)]
        if list(stage["deps"]) != wanted:
            stage["deps"][:] = wanted
            changed.append(name)
    if changed:
        with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            yaml.dump(content, file)
    return changed
