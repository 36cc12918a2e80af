"""Checks that a stage's command names the right family, which the stage would report only when it starts."""

from __future__ import annotations

import ast
from pathlib import Path

from pipeline.graphs.command import StageCommand
from pipeline.runtime.errors import InputError

_IN_USE = Path(__file__).parents[2]


def is_of_family(root: Path, module: str) -> bool:
    """Whether a module of stages/ runs a part of a family (`of_family` of `run_stage`); no where it cannot be read.

    Args:
        root: the project's folder; where it has no stages/, the code in use is looked at.
    """
    folder = Path(root) / "stages"
    path = (folder if folder.is_dir() else _IN_USE / "stages") / f"{module}.py"
    try:
        text = path.read_text(encoding="utf-8")
        calls = (
            [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)] if "of_family" in text else []
        )
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return False  # reported where the module's code is locked
    return any(
        keyword.arg == "of_family" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is None)
        for call in calls
        if _name(call.func) == "run_stage"
        for keyword in call.keywords
    )


def check_command_family(root: Path, source: Path | str, stage: str, command: StageCommand, family: str) -> None:
    """See that a command names the graph's family where its module is of a family, and none where it is not.

    Args:
        source: the file that an error names. stage: whose command it is. family: the graph's.

    Raises:
        InputError: it does not.
    """
    runs = f"{source}: stage {stage} runs stages.{command.module}, which is"
    if is_of_family(root, command.module):
        if command.family != family:
            raise InputError(f"{runs} of a family; write --family {family}")
    elif command.family:
        raise InputError(f"{runs} of no family; leave out --family {command.family}")


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
