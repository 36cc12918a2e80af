"""The version of the project, as its pyproject.toml has it."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

BEFORE_VERSIONS = "0.1.0"
"""The version of what was written before versions were recorded."""
UNKNOWN = "unknown"
"""The version of code that was copied without its pyproject.toml and is not installed."""
_NAME = "frcnn-pipeline"


def current_version() -> str:
    """That of the code in use: of the pyproject.toml beside it, else of the installed package."""
    try:
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        if project["name"] == _NAME:
            return str(project["version"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # another project's, or none
    try:
        return version(_NAME)
    except PackageNotFoundError:
        return UNKNOWN
