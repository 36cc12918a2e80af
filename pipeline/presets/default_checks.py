"""Checks a family's default values against its models; a mismatch is a fault of the family's files, not of a user's."""

from __future__ import annotations

from pipeline.families.family import Family
from pipeline.params.file import sections_of
from pipeline.params.reading import check_section
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import parse_yaml

_ADVICE = ("; restore it from the committed params.yaml", "; docs/parameters.md lists them")
_NEAREST = "; the nearest is "


def check_defaults(family: Family, text: str) -> None:
    """Check the default params.yaml of a family, section by section.

    Raises:
        InputError: naming the family's file, the first wrong parameter, and the class of its model.
    """
    file = f"pipeline/families/{family.name}/params.yaml"
    content, models = parse_yaml(text, file), sections_of(family)
    for name in content:
        if name not in models and name != "family":
            raise InputError(
                f"{file}: section {name} has no model; name one in sections of "
                f"pipeline/families/{family.name}/family.py"
            )
    for name, model in models.items():
        try:
            check_section(name, model, content, file)
        except InputError as error:
            said = str(error)
            for advice in _ADVICE:
                said = said.removesuffix(advice)
            said = said.partition(_NEAREST)[0]
            raise InputError(f"{said}; the file and its model, {model.__module__}.{model.__name__}, differ") from None
