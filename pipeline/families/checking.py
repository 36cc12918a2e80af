"""Checks a family's declaration; an error names the file that is wrong."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from pipeline.families.family import Family, Network
from pipeline.params.section import Section
from pipeline.runtime.errors import InputError


def declared_family(name: str, module: ModuleType) -> Family:
    """What the module `family` of a family's folder declares.

    Raises:
        InputError: nothing, something of another type, or a family of another name or without the network it is judged
            by.
    """
    file = f"pipeline/families/{name}/family.py"
    found = getattr(module, "FAMILY", None)
    if found is None:
        raise InputError(f"{file}: has no FAMILY; see docs/families.md")
    if not isinstance(found, Family):
        raise InputError(f"{file}: FAMILY is a {_type(found)}; write FAMILY = Family(...), see docs/families.md")
    if found.name != name:
        raise InputError(f"{file}: name is {found.name!r}, and the folder is {name}; give both one name")
    for section, model in found.sections.items():
        if not (isinstance(model, type) and issubclass(model, Section)):
            raise InputError(f"{file}: sections: {section} is {model!r}; give the class of its model, a Section")
    for network, own in found.networks.items():
        if not isinstance(own, Network):
            raise InputError(f"{file}: networks: {network} is a {_type(own)}; write Network(...)")
    if found.defaults_of and importlib.util.find_spec(f"pipeline.families.{found.defaults_of}") is None:
        raise InputError(f"{file}: defaults_of is {found.defaults_of!r}, and there is no such family")
    if found.judged not in found.networks:
        raise InputError(
            f"{file}: judged is {found.judged!r}, which is none of its networks ({', '.join(found.networks)})"
        )
    return found


def _type(found: object) -> str:
    return found.__name__ if isinstance(found, type) else type(found).__name__
