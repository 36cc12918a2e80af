"""Sections of params.yaml, read and checked: unknown keys, wrong types and impossible values end in one line.

A stage is given the sections its command names and no other, so that no parameter can change a result without DVC
knowing. It knows the models of its own sections alone; `pipeline.params.file` knows all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pipeline.params.section import Section
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import nearest_key_text
from pipeline.runtime.yaml_files import read_yaml

if TYPE_CHECKING:
    from pipeline.params.backbone import BackboneParams
    from pipeline.params.base import Base
    from pipeline.params.dataset import DatasetParams
    from pipeline.params.evaluate import EvaluateParams
    from pipeline.params.initial import InitParams
    from pipeline.params.resize import ResizeParams
    from pipeline.params.solver import SolverParams


class MissingSection(InputError, AttributeError):
    """A stage was run without a section that it needs."""


class MissingParameter(InputError):
    """A section of params.yaml, or a parameter of one, is not there; `key` is its name, `where` the file."""

    def __init__(self, key: str, where: Path | str) -> None:
        self.key, self.where = key, where
        self.what = f"parameter {key}" if "." in key else f"section {key!r}"
        super().__init__(f"{where}: {self.what} is missing; frcnn preset writes the whole file")


class Params:
    """The sections a stage was given; asking for another is an error of the stage, not of the user.

    Sections of a family have no types here. For mypy a family may have a subclass that names them, such as
    `pipeline.families.faster_rcnn.params.typed`.
    """

    if TYPE_CHECKING:
        base: Base
        dataset: DatasetParams
        backbone: BackboneParams
        init: InitParams
        resize: ResizeParams
        solver: SolverParams
        evaluate: EvaluateParams

    def __init__(self, sections: Mapping[str, Section], family: str = "") -> None:
        self.family = family
        """Name of the family whose params.yaml they are of; empty where one stage's sections alone were read."""
        self.__dict__.update(sections)

    def sections(self) -> dict[str, Section]:
        """The sections it has, by name."""
        return {name: section for name, section in self.__dict__.items() if isinstance(section, Section)}

    def __getattr__(self, name: str) -> Any:
        raise MissingSection(f"--params lacks section {name!r}; dvc.yaml has the stage's whole command")


def read_sections(path: Path, models: Mapping[str, type[Section]], names: Sequence[str]) -> Params:
    """Read and check the named sections of params.yaml, ignoring the others.

    Args:
        models: of every section that may be named.

    Raises:
        InputError: the file is missing or no YAML mapping, or a section, key, type or value is wrong.
    """
    return sections_in(read_content(path), path, models, names)


def sections_in(
    content: Mapping[str, Any], source: Path | str, models: Mapping[str, type[Section]], names: Sequence[str]
) -> Params:
    """As `read_sections`, of a parsed params.yaml."""
    for name in names:
        if name not in models:
            raise InputError(f"--params: no section {name!r} here; there are {', '.join(models)}")
    return Params({name: check_section(name, models[name], content, source) for name in names})


def read_content(path: Path) -> dict[str, Any]:
    """The sections of params.yaml, unchecked.

    Raises:
        InputError: the file is missing or no YAML mapping.
    """
    path = Path(path)
    try:
        content = read_yaml(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; run in the project's folder") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold one block per stage; see the committed params.yaml")
    return content


def check_section(name: str, model: type[Section], content: Mapping[str, Any], source: Path | str) -> Section:
    """One section of a parsed params.yaml.

    Raises:
        InputError: naming the first wrong parameter as `section.key`, its value and what is wrong with it.
    """
    if name not in content:
        raise MissingParameter(name, source)
    try:
        return model.model_validate(content[name], strict=True)
    except ValidationError as error:
        fault = error.errors()[0]
        if fault["type"] == "missing":
            raise MissingParameter(".".join([name, *map(str, fault["loc"])]), source) from error
        raise InputError(f"{source}: {_first_fault(name, model, error)}") from error


def _first_fault(section: str, model: type[Section], error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join([section, *map(str, fault["loc"])])
    if fault["type"] == "extra_forbidden":
        near = nearest_key_text(where, _keys(section, model))
        return f"unknown parameter {where}{near}; docs/parameters.md lists them"
    reason = fault["msg"].removeprefix("Value error, ")
    message = f"parameter {where}: {reason[:1].lower()}{reason[1:]}"
    if not isinstance(fault["input"], dict):
        message += f", got {fault['input']!r}"
    scalar = not isinstance(fault["input"], dict | list | NoneType)
    return f"{message}; put it in quotes" if fault["type"] == "string_type" and scalar else message


def _keys(name: str, model: type[Section]) -> Iterator[str]:
    """Every parameter and block of a section, `section.key`."""
    for key, field in model.model_fields.items():
        yield f"{name}.{key}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _keys(f"{name}.{key}", field.annotation)
