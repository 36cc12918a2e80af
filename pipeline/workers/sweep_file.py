"""What a sweep is to try: a YAML file with presets, a grid, a list, or ablations."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.families.family import Family
from pipeline.orchestrate.ablations import ablations_of, select
from pipeline.params.file import check_params
from pipeline.params.reading import Params
from pipeline.presets.apply import preset_texts
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import parse_yaml, read_yaml
from pipeline.workers.setting import Experiment, Experiments, Setting, present_setting

_Key = Annotated[str, Field(pattern=r"^\w+(\.\w+){1,2}$")]
_Changes = dict[_Key, Any]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$")]


class Sweep(BaseModel):
    """A sweep. `presets`, or one of `grid`, `experiments` and `ablations`, or both say what is tried.

    Attributes:
        name: first part of the experiments' names.
        presets: what the experiments start from, in place of params.yaml and dvc.yaml as they stand: names of presets,
            or changes by the name of a preset. All that `grid` and its like name is tried with each of them.
        grid: values by `section.key` or `section.block.key`; all their combinations are tried.
        experiments: changes by name. ablations: those of the family, by name; an empty list means all.
        choose: on which split the best is chosen; `none`: it is not, and `evaluate.split` stays as it is.
        network: whose figure decides; a name, or names by family. The network that a family is judged by where there is
            none.
        figure: in metrics.json, the largest is the best.
    """

    model_config = ConfigDict(extra="forbid")

    name: _Name
    presets: Annotated[list[str], Field(min_length=1)] | Annotated[dict[str, _Changes], Field(min_length=1)] | None = (
        None
    )
    grid: dict[_Key, Annotated[list[Any], Field(min_length=1)]] | None = None
    experiments: dict[_Name, _Changes] | None = None
    ablations: list[str] | None = None
    choose: Literal["val", "none"] = "val"
    network: str | dict[str, str] | None = None
    figure: str = "mAP50"

    @model_validator(mode="after")
    def _one_source(self) -> Sweep:
        sources = sum(source is not None for source in (self.grid, self.experiments, self.ablations))
        if sources > 1 or (not sources and self.presets is None):
            raise ValueError("give one of grid, experiments and ablations, or presets, alone or beside one of them")
        return self

    def tried(self, root: Path) -> Experiments:
        """What is to be tried, equal ones once.

        Raises:
            InputError: an unknown preset, ablation or network, or two experiments of one name.
        """
        starts = self._starts(root)
        for setting in starts.values():
            self.network_of(setting.family())
        tried: dict[str, Experiment] = {}
        for preset, setting in starts.items():
            first = self.presets[preset] if isinstance(self.presets, dict) else {}
            for own, changes in self._named(setting):
                experiment = Experiment(preset, {**first, **changes})
                if experiment in tried.values():
                    continue
                name = "-".join(filter(None, (self.name, preset, own)))
                if name in tried:
                    raise InputError(
                        f"two experiments would be called {name}: with preset {tried[name].start} and with preset "
                        f"{preset}; give one under experiments another name"
                    )
                tried[name] = experiment
        if self.choose == "val":
            _need_free_names_on_test(tried)
        return Experiments(starts, tried)

    def network_of(self, family: Family) -> str:
        """The network of a family whose figures decide.

        Raises:
            InputError: the family has none of that name.
        """
        own = self.network
        name = own.get(family.name, family.judged) if isinstance(own, dict) else own or family.judged
        if name not in family.networks:
            raise InputError(
                f"network: the family {family.name} has no network {name}; it has {', '.join(family.networks)}; "
                f"network: {{{family.name}: {family.judged}}} names one for this family"
            )
        return name

    def _starts(self, root: Path) -> dict[str, Setting]:
        if self.presets is None:
            return {"": present_setting(root)}
        found = {}
        for name in self.presets:
            graph, params = preset_texts(root, name)
            found[name] = Setting(params, graph)
        return found

    def _named(self, setting: Setting) -> Iterator[tuple[str, dict[str, Any]]]:
        if self.grid is not None:
            for number, values in enumerate(itertools.product(*self.grid.values()), start=1):
                yield str(number), dict(zip(self.grid, values, strict=True))
        elif self.experiments is not None:
            yield from self.experiments.items()
        elif self.ablations is not None:
            checked = check_params(parse_yaml(setting.params, "params.yaml"), "params.yaml")
            params = Params(checked, setting.family().name)
            for ablation in select(ablations_of(params), self.ablations):
                yield ablation.name, ablation.changes
        else:
            yield "", {}


def name_on_test(experiment: str) -> str:
    """What the chosen experiment is called where it is judged on test."""
    return f"{experiment}-test"


def _need_free_names_on_test(names: Collection[str]) -> None:
    """Any of them may be the one that is chosen."""
    for name in names:
        if name_on_test(name) in names:
            raise InputError(
                f"experiment {name_on_test(name)} has the name that {name} gets when it is chosen and judged on test; "
                "give one of the two another name, or choose: none"
            )


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
