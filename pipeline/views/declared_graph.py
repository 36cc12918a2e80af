"""The stages that dvc.yaml declares, read without DVC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.graphs.command import StageCommand
from pipeline.runtime.errors import InputError
from pipeline.runtime.own_code import CODE_STAGE
from pipeline.runtime.yaml_files import YamlError, read_yaml


@dataclass(frozen=True)
class DeclaredGraph:
    """The stages of dvc.yaml by name, in its order: their commands, and what each is for in one line."""

    commands: Mapping[str, StageCommand]
    purposes: Mapping[str, str]

    def reader_of(self, module: str, option: str, folder: Path) -> StageCommand | None:
        """The first stage of a module whose `--option` is this folder; None where there is none."""
        own = (command for command in self.commands.values() if command.module == module)
        return next((command for command in own if command.options.get(option) == folder), None)


def read_declared_graph(root: Path) -> DeclaredGraph:
    """The stages of dvc.yaml in a project's folder, read without DVC; but `code`, whose files are plain text.

    Raises:
        InputError: the file is missing, is not YAML, or a stage's command is of another form.
    """
    path = Path(root) / "dvc.yaml"
    try:
        stages = read_yaml(path)["stages"]
        written = {str(name): (str(stage["cmd"]), str(stage.get("desc", ""))) for name, stage in stages.items()}
        written.pop(CODE_STAGE, None)
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
