"""What is compared: a network's accuracy, its times and its size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.artifacts.weight_parts import count_weights
from pipeline.compare.sources import Source
from pipeline.compare.training_stages import stages_before
from pipeline.families.family import Family, Network
from pipeline.families.registry import family_names, family_of, present_family
from pipeline.runtime.errors import InputError
from pipeline.views.colours import GREY, network_looks

JUDGED_BY = ("split", "score_threshold", "per_image")
"""Parameters of section `evaluate` that figures depend on."""


@dataclass(frozen=True)
class Row:
    """A network.

    Attributes:
        source: see `Source.title`. family, network: titles.
        metrics: its metrics.json.
        data: the digest of the data set that it is judged on. rule: the values of `JUDGED_BY`.
        weights: how many numbers its parts hold, the statistics of their norms included.
        training_seconds: of all stages between the resized images and its weights. detection_seconds: an image, with
            the start of the stage. memory_mb: the most that one of these stages held. All as when the stages last ran
            in the workspace.
        None: not known.
        colour: the network's among those of its family.
    """

    source: str
    family: str
    network: str
    metrics: Mapping[str, Any]
    data: str
    rule: tuple[object, ...]
    weights: int | None = None
    training_seconds: float | None = None
    detection_seconds: float | None = None
    memory_mb: float | None = None
    colour: str = GREY

    @property
    def name(self) -> str:
        """Its name in the comparison."""
        is_said = f" {self.family.lower()}".endswith(f" {self.network.lower()}")
        own = self.family if is_said else f"{self.family}: {self.network}"
        return f"{self.source}, {own}" if self.source else own


def rows_of(source: Source, every_network: bool = False) -> list[Row]:
    """The networks of all families that are judged in a source, the present family's first.

    Args:
        every_network: not the judged one of each family alone.

    Raises:
        InputError: a metrics.json cannot be read.
    """
    names: Sequence[str] | None = source.families
    if names is None:
        present = present_family(source.root).name
        names = [present, *(name for name in family_names() if name != present)]
    return [row for name in names for row in _of_family(source, family_of(name), every_network)]


def _of_family(source: Source, family: Family, every_network: bool) -> Iterator[Row]:
    for name, network in family.networks.items():
        entry = source.lock.get(f"evaluate_{name}")
        if entry is None or not (every_network or name == family.judged):
            continue
        path = f"data/evaluate_{name}/metrics.json"
        file = source.place(path)
        if file is None:
            continue
        try:
            metrics, data, rule = _metrics_of(file), *_judged_by(entry)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            where = f"{source.title}: {path}" if source.title else path
            raise InputError(f"{where}: cannot be compared ({error!r}); dvc repro evaluate_{name}") from error
        if metrics:  # else the network does not exist
            costs, colour = _costs(source, family, name), network_looks(family)[name].colour
            yield Row(source.title, family.title, network.title, metrics, data, rule, **costs, colour=colour)


def _metrics_of(file: Path) -> dict[str, Any]:
    metrics = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(metrics, dict) or not isinstance(metrics.get("class_AP50") or {}, dict):
        raise ValueError("it is not an object with metrics by name")
    return metrics


def _judged_by(entry: Mapping[str, Any]) -> tuple[str, tuple[object, ...]]:
    """The digest of the data set and the rule, as dvc.lock has them for an evaluate stage."""
    data = {dep["path"]: dep.get("md5", "") for dep in entry["deps"]}["data/dataset"]
    of_files: list[Mapping[str, Any]] = [*entry["params"].values(), {}]
    own = of_files[0]["evaluate"]
    return data, tuple(own[key] for key in JUDGED_BY)


def _costs(source: Source, family: Family, name: str) -> dict[str, Any]:
    network, detect = family.networks[name], f"detect_{name}"
    trained = stages_before(source.root, family.name, detect)
    runs = [source.times[stage] for stage in trained] if source.times.keys() >= set(trained) else []
    detection, images = source.times.get(detect), _images(source, detect)
    seconds = detection.seconds / images if detection is not None and images else None
    return {
        "weights": _weights(source, network),
        "training_seconds": sum(run.seconds for run in runs) if runs else None,
        "detection_seconds": seconds,
        "memory_mb": max((run.peak_mb for run in runs), default=None),
    }


def _images(source: Source, detect: str) -> int | None:
    """How many images a detect stage has run on, according to its own index."""
    file = source.place(f"data/{detect}/images.parquet")
    try:
        return None if file is None else pc.count_distinct(pq.read_table(file, columns=["image_id"])[0]).as_py()
    except (OSError, ValueError, IndexError):  # Arrow's errors are ValueErrors
        return None


def _weights(source: Source, network: Network) -> int | None:
    total = 0
    for part, stage in network.parts.items():
        file = source.place(f"data/{stage}/model.safetensors")
        if file is None:
            return None
        try:
            total += count_weights(file, part)
        except (OSError, ValueError):
            return None
    return total or None


def comparable(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The networks that are evaluated like the first one, and a line on each other one."""
    kept, notes = [], []
    for row in rows:
        reasons = list(_differences(rows[0], row))
        if reasons:
            notes.append(f"{row.name}: left out, as it is judged {' and '.join(reasons)} than {rows[0].name}")
        else:
            kept.append(row)
    return kept, notes


def _differences(one: Row, other: Row) -> Iterable[str]:
    if one.data != other.data:
        yield "on another data set"
    for key, mine, theirs in zip(JUDGED_BY, one.rule, other.rule, strict=True):
        if mine != theirs:
            yield f"by another evaluate.{key} ({theirs}, not {mine})"
