"""The registry of families: each is a folder beside this module, so a new one is found without an edit here."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline import families
from pipeline.families.checking import declared_family
from pipeline.families.family import Family
from pipeline.runtime.errors import InputError

DEFAULT = "faster_rcnn"
"""The family of a params.yaml that names none."""


def family_names() -> tuple[str, ...]:
    """The names of all families, sorted."""
    found = pkgutil.iter_modules(families.__path__)
    return tuple(sorted(item.name for item in found if item.ispkg and part_exists(item.name, "family")))


def family_of(name: str) -> Family:
    """What a family declares.

    Raises:
        InputError: there is none of the name, or its module `family` does not declare it.
    """
    if name not in family_names():
        raise InputError(f"no family {name!r}; there are {', '.join(family_names())}")
    return declared_family(name, importlib.import_module(f"pipeline.families.{name}.family"))


def folder_of(name: str) -> Path:
    """The folder of a family's package. Files that are not modules, such as its params.yaml, lie there too.

    Raises:
        InputError: there is none of the name.
    """
    family_of(name)
    return Path(importlib.import_module(f"pipeline.families.{name}").__path__[0])


def part_exists(name: str, part: str) -> bool:
    """Whether a family has a module of a part's name."""
    return importlib.util.find_spec(f"pipeline.families.{name}.{part}") is not None


def part_of(name: str, part: str) -> ModuleType | None:
    """A family's module of a part's name, such as `panels` or `bundle`; None where it has none.

    Raises:
        InputError: there is no such family.
    """
    family_of(name)
    return importlib.import_module(f"pipeline.families.{name}.{part}") if part_exists(name, part) else None


def declared(name: str, part: str, what: str) -> Any:
    """What a family declares in a part, such as `BUNDLE` in its part `bundle`; None where it has no such part.

    Raises:
        InputError: there is no such family, or the part lacks `what`.
    """
    return declared_any(name, part, (what,)).get(what)


def declared_any(name: str, part: str, names: Sequence[str]) -> dict[str, Any]:
    """What a family declares under some of the names in a part; nothing where it has no such part.

    Raises:
        InputError: there is no such family, or the part has none of these names.
    """
    module = part_of(name, part)
    if module is None:
        return {}
    found = {what: getattr(module, what) for what in names if hasattr(module, what)}
    if not found:
        raise InputError(f"pipeline/families/{name}/{part}.py: has no {' or '.join(names)}; see docs/families.md")
    return found


def present_family(root: Path | None = None) -> Family:
    """The family of the detectors that a project trains, as its params.yaml names it.

    Args:
        root: the project's folder; the working directory by default.

    Raises:
        InputError: params.yaml is missing or not a YAML mapping, or names an unknown family.
    """
    from pipeline.params.file import family_in
    from pipeline.params.reading import read_content

    path = (root or Path()) / "params.yaml"
    return family_in(read_content(path), path)
