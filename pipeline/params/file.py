"""The whole of params.yaml: the common sections, those of the family that it names, and their models.

Stages read their own sections alone (`pipeline.params.reading`), so that a new section, or a new key in one, reruns
only the stages that have it. Stage `code`, which runs before all others, checks the whole file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.families.family import Family
from pipeline.families.registry import DEFAULT, family_names, family_of
from pipeline.params.augment_checks import check_drawn
from pipeline.params.backbone import BackboneParams
from pipeline.params.base import Base
from pipeline.params.dataset import DatasetParams
from pipeline.params.evaluate import EvaluateParams
from pipeline.params.initial import InitParams
from pipeline.params.limits import check_limits
from pipeline.params.reading import MissingParameter, Params, check_section, read_content
from pipeline.params.resize import ResizeParams
from pipeline.params.section import Section
from pipeline.params.solver import SolverParams
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import nearest_text
from pipeline.runtime.yaml_files import parse_yaml

COMMON: dict[str, type[Section]] = {
    "base": Base,
    "dataset": DatasetParams,
    "backbone": BackboneParams,
    "init": InitParams,
    "resize": ResizeParams,
    "solver": SolverParams,
    "evaluate": EvaluateParams,
}
"""What every family has."""


def sections_of(family: Family) -> dict[str, type[Section]]:
    """The sections of a family's params.yaml and their models, in the order of the file: the common ones, but those
    that the family has models of its own for, and then its own."""
    common = {name: model for name, model in COMMON.items() if name not in family.sections}
    return {**common, **family.sections}


def family_in(content: Mapping[str, Any], source: Path | str) -> Family:
    """The family that a parsed params.yaml names; one that names none is of Faster R-CNN.

    Raises:
        InputError: there is no such family.
    """
    name = content.get("family", DEFAULT)
    if name not in family_names():
        raise InputError(f"{source}: no family {name!r}; there are {', '.join(family_names())}")
    return family_of(name)


def load_params(path: Path, sections: Sequence[str] | None = None) -> Params:
    """Read and check the whole of params.yaml; give out the named sections, or all.

    Raises:
        InputError: the file is missing or no YAML mapping, or a section, key, type or value is wrong.
    """
    content = read_content(path)
    checked = check_params(content, path)
    for name in sections or ():
        if name not in checked:
            raise InputError(f"--params: no section {name!r}; there are {', '.join(checked)}")
    family = family_in(content, path).name
    return Params({name: checked[name] for name in (sections or checked)}, family)


def check_params(content: object, source: Path | str, limits: bool = True) -> dict[str, Section]:
    """Check a whole parsed params.yaml.

    Args:
        limits: also see that what detects keeps all that is to be judged.

    Raises:
        InputError: naming the first wrong parameter as `section.key`, its value and what is wrong with it.
    """
    if not isinstance(content, dict):
        raise InputError(f"{source}: must hold one block per stage; see the committed params.yaml")
    models = sections_of(family_in(content, source))
    for name in content:
        if name not in models and name != "family":
            raise InputError(
                f"{source}: unknown section {name!r}{nearest_text(name, models)}; there are {', '.join(models)}"
            )
    try:
        checked = {name: check_section(name, model, content, source) for name, model in models.items()}
    except MissingParameter as missing:
        raise _with_its_default(missing, family_in(content, source)) from None
    for check in (check_drawn, *family_in(content, source).checks):
        fault = check(checked)
        if fault is not None:
            raise InputError(f"{source}: {fault}")
    judged = checked["evaluate"]
    assert isinstance(judged, EvaluateParams)
    if limits:
        check_limits(checked, judged, source)
    return checked


def _with_its_default(missing: MissingParameter, family: Family) -> InputError:
    """What is missing, with the value to add: a params.yaml of an earlier version has values that are to be kept."""
    from pipeline.presets.defaults import default_text

    section, *keys = missing.key.split(".")
    value = parse_yaml(default_text(family), "params.yaml")
    for key in (section, *keys):
        value = value.get(key) if isinstance(value, dict) else None
    if not keys:
        remedy = "add it from the params.yaml that frcnn preset writes"
    elif isinstance(value, dict):
        remedy = "add its block from the params.yaml that frcnn preset writes"
    else:
        remedy = f"add `{keys[-1]}: {json.dumps(value)}`, its default, or run frcnn preset"
    return InputError(f"{missing.where}: {missing.what} is missing; {remedy}, which starts from the defaults")
