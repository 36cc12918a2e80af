"""params.yaml, read in one place and checked: unknown keys, wrong types and impossible values end in one line.

A stage asks for the sections its command names and is given no other, so that no parameter can change a result without
DVC knowing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_type_hints

from pydantic import ValidationError

from pipeline.errors import InputError
from pipeline.params.dataset import DatasetParams
from pipeline.params.detector import (
    AnchorParams,
    AnchorTargetParams,
    BackboneParams,
    DetectParams,
    EvaluateParams,
    FeatureParams,
    InitParams,
    ProposalParams,
    ProposalTargetParams,
    ResizeParams,
    RoIHeadParams,
    RPNParams,
)
from pipeline.params.section import Section
from pipeline.params.training import Base, HeadStep4, JointParams, RPNStep3, Schedule, SolverParams
from pipeline.yaml_files import read_yaml


class MissingSection(InputError, AttributeError):
    """A stage was run without a section that it needs."""


class Params:
    """The sections a stage was given; asking for another is an error of the stage, not of the user."""

    base: Base
    dataset: DatasetParams
    backbone: BackboneParams
    init: InitParams
    resize: ResizeParams
    anchors: AnchorParams
    anchor_targets: AnchorTargetParams
    rpn: RPNParams
    proposals: ProposalParams
    proposal_targets: ProposalTargetParams
    roi_head: RoIHeadParams
    features: FeatureParams
    solver: SolverParams
    train_rpn_step1: Schedule
    train_head_step2: Schedule
    train_rpn_step3: RPNStep3
    train_head_step4: HeadStep4
    finetune_joint: JointParams
    detect: DetectParams
    evaluate: EvaluateParams

    def __init__(self, sections: dict[str, Section]) -> None:
        self.__dict__.update(sections)

    def sections(self) -> dict[str, Section]:
        """The sections it has, by name."""
        return {name: section for name, section in self.__dict__.items() if isinstance(section, Section)}

    def __getattr__(self, name: str) -> Any:
        raise MissingSection(f"--params lacks section {name!r}; dvc.yaml has the stage's whole command")


SECTIONS: dict[str, type[Section]] = get_type_hints(Params)


def load_params(path: Path, sections: Sequence[str] | None = None) -> Params:
    """Read and check the whole of params.yaml; give out the named sections, or all.

    Raises:
        InputError: the file is missing or no YAML mapping, or a section, key, type or value is wrong.
    """
    path = Path(path)
    try:
        content = read_yaml(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; run in the project's folder") from error
    checked = check_params(content, path)
    for name in sections or ():
        if name not in SECTIONS:
            raise InputError(f"--params: no section {name!r}; there are {', '.join(SECTIONS)}")
    return Params({name: checked[name] for name in (sections or checked)})


def check_params(content: object, source: Path | str) -> dict[str, Section]:
    """Check a whole parsed params.yaml.

    Raises:
        InputError: naming the first wrong parameter as `section.key`, its value and what is wrong with it.
    """
    if not isinstance(content, dict):
        raise InputError(f"{source}: must hold one block per stage; see the committed params.yaml")
    for name in content:
        if name not in SECTIONS:
            raise InputError(f"{source}: unknown section {name!r}; there are {', '.join(SECTIONS)}")
    checked = {}
    for name, model in SECTIONS.items():
        if name not in content:
            raise InputError(f"{source}: section {name!r} is missing; restore it from the committed params.yaml")
        try:
            checked[name] = model.model_validate(content[name], strict=True)
        except ValidationError as error:
            raise InputError(f"{source}: {_first_fault(name, error)}") from error
    return checked


def _first_fault(section: str, error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join([section, *map(str, fault["loc"])])
    if fault["type"] == "extra_forbidden":
        return f"unknown parameter {where}; docs/parameters.md lists them"
    if fault["type"] == "missing":
        return f"parameter {where} is missing; restore it from the committed params.yaml"
    reason = fault["msg"].removeprefix("Value error, ")
    message = f"parameter {where}: {reason[:1].lower()}{reason[1:]}"
    if not isinstance(fault["input"], dict):
        message += f", got {fault['input']!r}"
    scalar = not isinstance(fault["input"], dict | list | NoneType)
    return f"{message}; put it in quotes" if fault["type"] == "string_type" and scalar else message
