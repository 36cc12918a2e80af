"""What a family lists for a stage in one of its parts, such as the panels of its own stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.families.registry import family_of, part_of, present_family
from pipeline.views.command import StageCommand


def family_of_stage(command: StageCommand, root: Path) -> str:
    """The name of the family that a stage is of: the one that its command names, or else the project's.

    Raises:
        InputError: params.yaml is missing, or names a family that there is not.
    """
    return command.family or present_family(root).name


def listed(command: StageCommand, root: Path, part: str, table: str) -> Any:
    """What the family's module `part` lists for the stage's module in `table`; None where it lists nothing.

    Args:
        command: the stage's command line.
        root: the project's folder, which the command's paths are relative to.
        part: a part of a family, `panels` or `figures`.
        table: name of a mapping in it, by the modules of stages/.

    Raises:
        InputError: params.yaml is missing, or there is no such family.
    """
    own = part_of(family_of_stage(command, root), part)
    return getattr(own, table, {}).get(command.module) if own else None


def trains(command: StageCommand, root: Path) -> bool:
    """Whether the stage trains a network of its family.

    Raises:
        InputError: params.yaml is missing, or there is no such family.
    """
    return command.stage in family_of(family_of_stage(command, root)).training
