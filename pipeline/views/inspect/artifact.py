"""Which stage an artifact is of: by the stage's name, its folder, or a file in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.views.command import StageCommand
from pipeline.yaml_files import YamlError, read_yaml


@dataclass(frozen=True)
class DeclaredGraph:
    """The stages of dvc.yaml by name, in its order: their commands, and what each is for in one line."""

    commands: Mapping[str, StageCommand]
    purposes: Mapping[str, str]

    def reader_of(self, module: str, option: str, folder: Path) -> StageCommand | None:
        """The first stage of a module whose `--option` is this folder; None where there is none."""
        own = (command for command in self.commands.values() if command.module == module)
        return next((command for command in own if command.options.get(option) == folder), None)


@dataclass(frozen=True)
class Artifact:
    """A stage's command, what the stage is for, and the one file that was asked for, or None."""

    command: StageCommand
    purpose: str
    file: Path | None


def read_declared_graph(root: Path) -> DeclaredGraph:
    """The stages of dvc.yaml in a project's folder, read without DVC.

    Raises:
        InputError: the file is missing, is no YAML, or a stage's command is of another form.
    """
    path = Path(root) / "dvc.yaml"
    try:
        stages = read_yaml(path)["stages"]
        written = {str(name): (str(stage["cmd"]), str(stage.get("desc", ""))) for name, stage in stages.items()}
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; run in the project's folder") from error
    except (OSError, YamlError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: names no stages with a command each ({reason}); restore the committed one"
        ) from error
    return DeclaredGraph(
        {name: StageCommand.parse(cmd) for name, (cmd, _) in written.items()},
        {name: desc for name, (_, desc) in written.items()},
    )


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
        raise InputError(f"{name}: no such stage, folder or file; the stages are {stages}")
    raise InputError(f"{name}: no stage of dvc.yaml writes it; give a stage, its folder or a file in it: {stages}")


def _contents(folder: Path) -> str:
    if not folder.is_dir():
        return f"to be written (dvc repro {folder.name})"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
