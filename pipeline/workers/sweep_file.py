"""What a sweep is to try: a YAML file with a grid, a list, or the paper's ablations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.families.registry import present_family
from pipeline.orchestrate.ablations import ablations_of, changed_params, select
from pipeline.params.file import load_params
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import read_yaml

_Changes = dict[Annotated[str, Field(pattern=r"^\w+\.\w+$")], Any]


class Sweep(BaseModel):
    """A sweep; exactly one of `grid`, `experiments` and `ablations` says what is tried.

    Attributes:
        name: first part of the experiments' names.
        grid: values by `section.key`; all their combinations are tried.
        experiments: changes by name. ablations: the paper's, by name; an empty list means all.
        choose: on which split the best is chosen; `none`: it is not, and `evaluate.split` stays as it is.
        network, figure: whose figure in metrics.json decides; the largest is the best.
    """

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$")]
    grid: dict[Annotated[str, Field(pattern=r"^\w+\.\w+$")], Annotated[list[Any], Field(min_length=1)]] | None = None
    experiments: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$")], _Changes] | None = None
    ablations: list[str] | None = None
    choose: Literal["val", "none"] = "val"
    network: str = Field(default_factory=lambda: present_family().judged)
    figure: str = "mAP50"

    @field_validator("network")
    @classmethod
    def _known_network(cls, name: str) -> str:
        if name not in present_family().networks:
            raise ValueError(f"there is no such network; there are {', '.join(present_family().networks)}")
        return name

    @model_validator(mode="after")
    def _one_source(self) -> Sweep:
        if sum(source is not None for source in (self.grid, self.experiments, self.ablations)) != 1:
            raise ValueError("give one of grid, experiments and ablations")
        return self

    def changes(self, root: Path) -> dict[str, dict[str, Any]]:
        """Changes of params.yaml by the name of their experiment; equal ones once.

        Raises:
            InputError: an unknown ablation.
        """
        found = {f"{self.name}-{name}": changes for name, changes in self._named(root)}
        distinct: dict[str, dict[str, Any]] = {}
        for name, changes in found.items():
            if changes not in distinct.values():
                distinct[name] = changes
        return distinct

    def _named(self, root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        if self.grid is not None:
            for number, values in enumerate(itertools.product(*self.grid.values()), start=1):
                yield str(number), dict(zip(self.grid, values, strict=True))
        elif self.experiments is not None:
            yield from self.experiments.items()
        else:
            for ablation in select(ablations_of(load_params(root / "params.yaml")), self.ablations or ()):
                yield ablation.name, ablation.changes


def read_sweep(path: Path) -> Sweep:
    """Read a sweep's file.

    Raises:
        InputError: no such file, no YAML, or a key or value that a sweep cannot have.
    """
    try:
        content = read_yaml(path)
        return Sweep.model_validate(content, strict=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise InputError(
            f"{path}: {where + ': ' if where else ''}{fault['msg'].removeprefix('Value error, ')}"
        ) from None


def texts_of(text: str, changes: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The text of params.yaml for each experiment, by its changes.

    Raises:
        InputError: a parameter that does not exist, or a value that it cannot have; names the experiment.
    """
    texts = {}
    for name, own in changes.items():
        try:
            texts[name] = changed_params(text, dict(own))
        except InputError as error:
            raise InputError(f"experiment {name}: {error}") from None
        except (KeyError, TypeError):
            raise InputError(f"experiment {name}: there is no such section as in {', '.join(own)}") from None
    return texts
