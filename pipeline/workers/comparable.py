"""Whether the figures of experiments may stand in one table: all by one threshold and limit, on the same images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.params.file import check_params
from pipeline.params.section import Section
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import parse_yaml
from pipeline.workers.setting import Setting

_JUDGED_BY = ("evaluate.score_threshold", "evaluate.per_image", "evaluate.split")


def refuse_other_judgement(settings: Mapping[str, Setting]) -> None:
    """Refuse experiments that would be judged by different thresholds or limits, or on different splits.

    Raises:
        InputError: names the parameter, and an experiment for each of two values.
    """
    checked = _checked(settings)
    for key in _JUDGED_BY:
        section, name = key.split(".")
        values = {experiment: getattr(params[section], name) for experiment, params in checked.items()}
        first, value = next(iter(values.items()))
        for experiment, other in values.items():
            if other != value:
                raise InputError(
                    f"{key} is {value} in {first} and {other} in {experiment}, so that their figures could not be "
                    "compared; give all experiments one value"
                )


def different_data(settings: Mapping[str, Setting]) -> list[str]:
    """The parameters in which experiments differ that say on which images and gt boxes they are judged, as
    `section.key`; empty where they are judged on the same."""
    read = [_of_data(params) for params in _checked(settings).values()]
    keys = dict.fromkeys(key for own in read for key in own)
    return [key for key in keys if any(own.get(key) != read[0].get(key) for own in read)]


def _checked(settings: Mapping[str, Setting]) -> dict[str, dict[str, Section]]:
    return {
        name: check_params(parse_yaml(setting.params, name), f"experiment {name}") for name, setting in settings.items()
    }


def _of_data(params: Mapping[str, Any]) -> dict[str, Any]:
    """Those of section `dataset` that what is judged depends on; images of other splits may differ."""
    dataset, judged = params["dataset"], params["evaluate"].split
    others = {"train", "val", "test"} - {judged}
    reader, findings = getattr(dataset, dataset.reader), dataset.findings
    return {
        "dataset.reader": dataset.reader,
        **{f"dataset.{dataset.reader}.{key}": value for key, value in reader.model_dump().items() if key not in others},
        **{f"dataset.findings.{key}": value for key, value in findings.model_dump().items()},
        **({"base.seed": params["base"].seed} if dataset.reader == "shapes" else {}),
    }
