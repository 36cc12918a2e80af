"""A project that another version of the code has run: which of its stages will rerun for that, in one line."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.run_times import read_runs
from pipeline.version import UNKNOWN, current_version
from pipeline.words import count_text
from pipeline.yaml_files import read_yaml


def version_change(root: Path) -> str | None:
    """A line on the stages that another version last ran in `root` and whose code has changed since; None where there
    is none, as in a fresh clone. What the next run has done again is not named any more."""
    now = current_version()
    versions = {name: run.version for name, run in read_runs(root).items() if run.version not in (now, UNKNOWN)}
    if not versions or now == UNKNOWN:
        return None
    try:
        declared, locked = (read_yaml(root / name)["stages"] for name in ("dvc.yaml", "dvc.lock"))
        ran = versions.keys() & declared.keys() & locked.keys()
        md5_of = functools.cache(lambda path: _md5(root / path))  # a module is of many stages
        changed = {
            name for name in ran if _code(locked[name]) != {path: md5_of(path) for path in _code_names(declared[name])}
        }
        earlier = ", ".join(sorted({versions[name] for name in changed}))
    except (OSError, InputError, KeyError, TypeError, AttributeError):
        return None  # DVC names what is wrong with its files
    if not changed:
        return None
    return (
        f"{count_text(len(changed), 'stage')} of {len(declared)} last ran with version {earlier} and will rerun with "
        f"this one, {now}; see CHANGELOG.md"
    )


def _code_names(stage: Mapping[str, Any]) -> list[str]:
    """The modules of a stage of dvc.yaml."""
    return [dep for dep in stage["deps"] if isinstance(dep, str) and dep.endswith(".py")]


def _code(entry: Mapping[str, Any]) -> dict[str, str]:
    """The modules that a stage of dvc.lock ran with, and their digests."""
    return {dep["path"]: dep["md5"] for dep in entry["deps"] if dep["path"].endswith(".py")}


def _md5(file: Path) -> str:
    """As DVC has it of a file; empty where there is none."""
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() if file.is_file() else ""
