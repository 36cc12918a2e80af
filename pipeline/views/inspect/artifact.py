"""Finds the stage of an artifact by the stage's name, its folder, or a file in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.graphs.command import StageCommand
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import nearest_text
from pipeline.views.declared_graph import DeclaredGraph


@dataclass(frozen=True)
class Artifact:
    """A stage's command, its purpose, and the requested file, or None."""

    command: StageCommand
    purpose: str
    file: Path | None


def find_artifact(graph: DeclaredGraph, root: Path, name: str) -> Artifact:
    """The artifact of a name.

    Args:
        graph: the stages.
        root: the project's folder, which the commands' paths are relative to.
        name: a stage (anchor_targets), its folder (data/anchor_targets), or a file in it, relative to the working
            directory.

    Raises:
        InputError: there is no such stage, folder or file, or no stage writes it, or the stage has not run.
    """
    root, path = Path(root), Path(name)
    if name in graph.commands:
        command = graph.commands[name]
        if not (root / command.out).is_dir():
            raise InputError(f"{command.out}: not there yet; dvc repro {name}")
        return Artifact(command, graph.purposes[name], None)
    stages = ", ".join(graph.commands)
    for stage, command in graph.commands.items():
        folder = (root / command.out).resolve()
        if folder not in (path.resolve(), *path.resolve().parents):
            continue
        if not path.exists():
            remedy = f"dvc repro {stage}" if folder == path.resolve() else f"the folder has {_contents(folder)}"
            raise InputError(f"{path}: no such file or folder; {remedy}")
        return Artifact(command, graph.purposes[stage], path if path.is_file() else None)
    if not path.exists():
        raise InputError(
            f"{name}: no such stage, folder or file{nearest_text(name, graph.commands)}; the stages are {stages}"
        )
    raise InputError(f"{name}: no stage of dvc.yaml writes it; give a stage, its folder or a file in it: {stages}")


def _contents(folder: Path) -> str:
    if not folder.is_dir():
        return f"to be written (dvc repro {folder.name})"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
