"""What a sweep is to try: a YAML file with presets, a grid, a list, or ablations."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

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
    experiments: Annotated[dict[_Name, _Changes], Field(min_length=1)] | None = None
    ablations: list[str] | None = None
    choose: Literal["val", "none"] = "val"
    network: str | dict[str, str] | None = None
    figure: str = "mAP50"

    @field_validator("presets", mode="before")
    @classmethod
    def _presets_in_one_form(cls, value: object) -> object:
        """Else pydantic tells what is wrong by both forms."""
        if not isinstance(value, list | dict) or not value:
            raise ValueError("must be a list of names, [NAME, ...], or changes by name, {NAME: {section.key: VALUE}}")
        for name in value:
            if not isinstance(name, str):
                raise ValueError(f"{name!r} is not a name of a preset; write [NAME, ...] or {{NAME: {{}}, ...}}")
        return value

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
        families = {setting.family().name: setting.family() for setting in starts.values()}
        for family in families.values():
            self.network_of(family)
        for name in self.network if isinstance(self.network, dict) else ():
            if name not in families:
                raise InputError(
                    f"network.{name}: no experiment is of a family {name}; they are of {', '.join(families)}"
                )
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
        InputError: no such file, not YAML, or a key or value that a sweep cannot have.
    """
    try:
        content = read_yaml(path)
        return Sweep.model_validate(content, strict=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except ValidationError as error:
        raise InputError(f"{path}: {_told(error)}") from None


def _told(error: ValidationError) -> str:
    """The first fault in a line: where, what, and what to write."""
    # For changes by preset, pydantic also reports that they are not a list.
    faults = [each for each in error.errors() if each["loc"][:1] != ("presets",) or each["type"] != "list_type"]
    fault = faults[0]
    of_key = fault["loc"][-1:] == ("[key]",)
    # The place does not say which of the two forms of `presets` it was taken for.
    place = [str(part) for part in fault["loc"] if part != "[key]" and not str(part).startswith(("list[", "dict["))]
    where, what = ".".join(place), fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "string_pattern_mismatch" or (of_key and fault["type"] == "string_type"):
        by_key = of_key and not (len(place) == 2 and place[0] == "experiments")
        what = "write a parameter as section.key or section.block.key" if by_key else "use letters, digits and - alone"
    elif fault["type"] == "dict_type" and len(place) == 2:
        what = f"must hold changes, section.key: value; write {place[1]}: {{}} for none"
    elif fault["type"] == "list_type" and place[:1] == ["grid"] and len(place) == 2:
        what = f"must be a list of values to try; write {place[1]}: [VALUE, ...]"
    return f"{where}: {what}" if where else what
