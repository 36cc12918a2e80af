"""Figures of a finished stage, from whole tables, column by column.

A figure that is not defined, such as a recall without gt boxes, is left out; all others are finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.artifacts.dataset_tables import DATASET_BOXES, DATASET_IMAGES
from pipeline.artifacts.dense_targets import DenseTargets
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.maps import FEATURE_IMAGES
from pipeline.artifacts.resized_tables import RESIZED_IMAGES
from pipeline.artifacts.tables import open_parquet, read_columns
from pipeline.datasets.base import SPLITS
from pipeline.graphs.command import StageCommand
from pipeline.runtime.errors import InputError
from pipeline.views.csv_columns import read_numbers
from pipeline.views.family_part import listed, trains
from pipeline.views.json_files import read_json, read_metrics

Figures = Callable[[StageCommand, Path], dict[str, float]]
"""From a stage's command line and the project's folder to its figures by name, which need not be finite."""


def metrics_of(command: StageCommand, root: Path) -> dict[str, float]:
    """Figures of a stage's output by name; empty for a module that has none.

    Those of a family's own stages are in its part `figures`, a mapping `FIGURES` from the stage's module to `Figures`,
    which goes before the one here. A stage that trains a network of the family has the losses without being listed.

    Args:
        command: the stage's command line.
        root: the project's folder, which the command's paths are relative to.

    Returns:
        Counts are of images, boxes and so on; names in `per_image` count each view of an image as one; `MB` is
        10^6 bytes; shares and recalls are 0..1.

    Raises:
        InputError: an artifact is missing or damaged.
    """
    root = Path(root)
    measure = listed(command, root, "figures", "FIGURES") or _COMMON.get(command.module)
    if measure is None and trains(command, root):
        measure = training_figures
    figures = measure(command, root) if measure else {}
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}


def _dataset(command: StageCommand, root: Path) -> dict[str, float]:
    folder = root / command.out
    images = read_columns(folder / "images.parquet", DATASET_IMAGES, ["image_id", "split"])
    box_ids = pa.array(read_columns(folder / "boxes.parquet", DATASET_BOXES, ["image_id"])["image_id"])
    counts: dict[str, dict[str, int]] = read_json(folder / "metrics.json", dict, "object of counts")["findings"]
    of_split = {split: images["image_id"][images["split"] == split] for split in SPLITS}
    shown = {split: ids for split, ids in of_split.items() if split != "val" or len(ids)}
    return {
        **{f"{split}_images": len(ids) for split, ids in shown.items()},
        **{f"{split}_boxes": _count_members(box_ids, ids) for split, ids in shown.items()},
        **{f"findings_{kind}, {done}": count for kind, own in sorted(counts.items()) for done, count in own.items()},
    }


def _count_members(values: pa.Array, allowed: np.ndarray) -> int:
    if not len(values):
        return 0
    return int(pc.sum(pc.is_in(values, value_set=pa.array(allowed, type=pa.string()))).as_py() or 0)


def _backbone(command: StageCommand, root: Path) -> dict[str, float]:
    return {"MB": _megabytes(root / command.out, "model.safetensors")}


def _resize(command: StageCommand, root: Path) -> dict[str, float]:
    folder = root / command.out
    images = _count_plain(folder / "images.parquet", RESIZED_IMAGES)
    kept = any(read_columns(folder / "images.parquet", RESIZED_IMAGES, ["shard"])["shard"])
    return {"images": images, "MB": _megabytes(folder, "pixels-*.npz") if kept else 0.0}


def training_figures(command: StageCommand, root: Path) -> dict[str, float]:
    """Iterations, and each loss of the first and the last row of history.csv."""
    history = read_numbers(root / command.out / "history.csv", "iteration", "loss")
    losses = [name for name in history if name not in ("iteration", "lr")]
    return {
        "iterations": history["iteration"][-1],
        **{f"{name}_first": history[name][0] for name in losses},
        **{f"{name}_last": history[name][-1] for name in losses},
    }


def _features(command: StageCommand, root: Path) -> dict[str, float]:
    folder = root / command.out
    maps = open_parquet(folder / "images.parquet", FEATURE_IMAGES).metadata.num_rows
    return {"maps": maps, "MB": _megabytes(folder, "maps-*.npz") if maps else 0.0}


def detection_figures(command: StageCommand, root: Path) -> dict[str, float]:
    """Images of each split, and how many detections one has."""
    of_split = {split: image_ids(root / command.input("resize"), split) for split in ("val", "test")}
    rows = read_columns(root / command.out / "detections.parquet", DETECTIONS, ["image_id"])
    found = pa.array(rows["image_id"], type=pa.string())
    figures: dict[str, float] = {}
    for split, ids in of_split.items():
        if split == "test" or len(ids):
            figures[f"{split}_images"] = len(ids)
            figures[f"{split}_detections_per_image"] = ratio(_count_members(found, ids), len(ids))
    return figures


def _dense_targets(command: StageCommand, root: Path) -> dict[str, float]:
    targets = DenseTargets(root / command.out)
    views, counts = len(targets), targets.counts()
    of_levels = {f"fg_per_image_level{level}": ratio(fg, views) for level, (fg, _) in counts.items()}
    return {
        "images": targets.images,
        "fg_locations_per_image": ratio(targets.fg_count, views),
        **(of_levels if len(of_levels) > 1 else {}),
        "ignored_per_image": ratio(sum(ignored for _, ignored in counts.values()), views),
        "share_without_fg": ratio(views - targets.count_with_fg(), views),
    }


def _evaluate(command: StageCommand, root: Path) -> dict[str, float]:
    metrics = read_metrics(root / command.out)
    return {name: value for name, value in metrics.items() if type(value) in (int, float)}  # type: ignore[misc]


def _count_plain(path: Path, schema: pa.Schema) -> int:
    """Images of an index with one row per view."""
    return int(np.count_nonzero(read_columns(path, schema, ["view"])["view"] == 0))


def image_ids(resize: Path, split: str) -> np.ndarray:
    """Names of the images of a split, each once, in the order of the resize stage's index."""
    images = read_columns(resize / "images.parquet", RESIZED_IMAGES, ["image_id", "view", "split"])
    ids: np.ndarray = images["image_id"][(images["split"] == split) & (images["view"] == 0)]
    return ids


def ratio(count: float, of: int) -> float:
    """NaN where there is nothing to divide by."""
    return float(count) / of if of else math.nan


def _megabytes(folder: Path, pattern: str) -> float:
    sizes = [path.stat().st_size for path in folder.glob(pattern)]
    if not sizes:
        raise InputError(f"{folder}: holds no {pattern}; dvc repro {folder.name}")
    return sum(sizes) / 1e6


_COMMON: dict[str, Figures] = {
    "dataset": _dataset,
    "backbone": _backbone,
    "resize": _resize,
    "features": _features,
    "frozen_features": _features,
    "dense_targets": _dense_targets,
    "detect_dense": detection_figures,
    "evaluate": _evaluate,
}
