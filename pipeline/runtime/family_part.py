"""The family's part of a stage that several families share.

`python -m stages.KIND --family NAME` works with `pipeline.families.NAME.KIND`, which says what the family does there.
Stage `code` locks both, each with what it imports; so an edit of one family reruns no stage of another.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from pipeline.runtime.errors import InputError


def part_module(family: str, kind: str) -> str:
    """The name of a family's part of a stage."""
    return f"pipeline.families.{family}.{kind}"


def locked_part(family: str, part: ModuleType | None) -> str:
    """The name of what stage `code` locks of a family for a stage: its part, or where it has none its package, which is
    loaded to find that out."""
    return f"pipeline.families.{family}" if part is None else part.__name__


def family_part(family: str, kind: str, optional: bool = False) -> ModuleType | None:
    """A family's part of a stage; None where it has none and `optional`.

    Args:
        family: its folder's name in pipeline/families. kind: the stage's module in stages/.

    Raises:
        InputError: there is no such family, or it has none, or one without SECTIONS.
    """
    path = f"pipeline/families/{family}/{kind}.py"
    name = part_module(family, kind)
    if not family.isidentifier() or importlib.util.find_spec(f"pipeline.families.{family}") is None:
        raise InputError(f"--family {family}: no such family; {path} would be its part of this stage")
    if importlib.util.find_spec(name) is None:
        if optional:
            return None
        raise InputError(f"--family {family}: has no part of stage {kind}; write {path}, see docs/families.md")
    part = importlib.import_module(name)
    check_part(part, "SECTIONS")
    return part


def check_part(part: ModuleType, *names: str) -> None:
    """Whether a family's part has what a stage asks it for.

    Raises:
        InputError: the first thing that it has not.
    """
    for name in names:
        if not hasattr(part, name):
            raise InputError(f"{part_file(part)}: has no {name}, which the stage asks for; see docs/families.md")


def part_file(part: ModuleType) -> str:
    """The file of a family's part, for messages."""
    return part.__name__.replace(".", "/") + ".py"
