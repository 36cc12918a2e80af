"""The version of the project, as pyproject.toml has it."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path

BEFORE_VERSIONS = "0.1.0"
"""The version of what was written before versions were recorded."""


def current_version() -> str:
    """That of the code in use: of its pyproject.toml, or of the installed package where it lies beside none."""
    try:
        text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
        return str(tomllib.loads(text)["project"]["version"])
    except FileNotFoundError:
        return version("frcnn-pipeline")
