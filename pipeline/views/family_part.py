"""Looks up what a family lists for a stage in one of its parts, such as the panels of its own stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.families.registry import declared_any, family_of, present_family
from pipeline.graphs.command import StageCommand
from pipeline.params.reading import Params

TABLES = {"panels": ("PANELS", "DRAWN"), "figures": ("FIGURES", "PICTURES")}
"""The tables of each part that has some; a part has at least one of its own."""


def listed(command: StageCommand, root: Path, part: str, table: str, params: Params | None = None) -> Any:
    """What the family's module `part` lists for the stage's module in `table`; None where it lists nothing.

    Args:
        command: the stage's command line.
        root: the project's folder, which the command's paths are relative to.
        part: a part of a family, one of `TABLES`.
        table: one of the part's, a mapping by the modules of stages/.
        params: params.yaml, where the caller has read it already.

    Raises:
        InputError: params.yaml is missing, there is no such family, or the part has none of its tables.
    """
    family = command.family or (params.family if params is not None else present_family(root).name)
    tables = declared_any(family, part, TABLES[part])
    return tables.get(table, {}).get(command.module)


def trains(command: StageCommand, root: Path) -> bool:
    """Whether the stage trains a network of its family.

    Raises:
        InputError: params.yaml is missing, or there is no such family.
    """
    family = family_of(command.family) if command.family else present_family(root)
    return command.stage in family.training
