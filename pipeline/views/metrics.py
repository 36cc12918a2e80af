"""Figures of how a finished stage went, from whole tables, column by column.

A figure that is not defined, such as a recall without gt boxes, is left out; all others are finite.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.artifacts.anchor_targets import AnchorTargets
from pipeline.artifacts.dataset_tables import DATASET_BOXES, DATASET_IMAGES
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.findings_table import FINDINGS
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.maps import FEATURE_IMAGES
from pipeline.artifacts.proposal_targets import ProposalTargets
from pipeline.artifacts.proposals import StoredProposals
from pipeline.artifacts.resized_tables import RESIZED_IMAGES
from pipeline.artifacts.tables import open_parquet, read_columns
from pipeline.datasets.base import SPLITS
from pipeline.metrics.recall import RecallCounter
from pipeline.runtime.errors import InputError
from pipeline.views.command import StageCommand
from pipeline.views.csv_columns import read_numbers
from pipeline.views.json_files import read_metrics
from pipeline.views.samples import NetworkImages

_ALL = 1 << 30


def metrics_of(command: StageCommand, root: Path) -> dict[str, float]:
    """Figures of a stage's output by name; empty for a module that has none.

    Args:
        command: the stage's command line.
        root: the project's folder, which the command's paths are relative to.

    Returns:
        Counts are of images, boxes and so on; names in `per_image` count each view of an image as one; `MB` is
        10^6 bytes; shares and recalls are 0..1.

    Raises:
        InputError: an artifact is missing or damaged.
    """
    measure = _METRICS.get(command.module)
    figures = measure(command, Path(root)) if measure else {}
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}


def _dataset(command: StageCommand, root: Path) -> dict[str, float]:
    folder = root / command.out
    images = read_columns(folder / "images.parquet", DATASET_IMAGES, ["image_id", "split"])
    box_ids = pa.array(read_columns(folder / "boxes.parquet", DATASET_BOXES, ["image_id"])["image_id"])
    findings = read_columns(folder / "findings.parquet", FINDINGS, ["kind", "action"])
    counts = Counter(zip(findings["kind"].tolist(), findings["action"].tolist(), strict=True))
    of_split = {split: images["image_id"][images["split"] == split] for split in SPLITS}
    shown = {split: ids for split, ids in of_split.items() if split != "val" or len(ids)}
    return {
        **{f"{split}_images": len(ids) for split, ids in shown.items()},
        **{f"{split}_boxes": _count_members(box_ids, ids) for split, ids in shown.items()},
        **{f"findings_{kind}, {action}": count for (kind, action), count in sorted(counts.items())},
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
    return {"images": images, "MB": _megabytes(folder, "pixels-*.npz")}


def _anchor_targets(command: StageCommand, root: Path) -> dict[str, float]:
    targets = AnchorTargets(root / command.out)
    views = len(targets)
    return {
        "images": targets.images,
        "fg_anchors_per_image": _ratio(targets.fg_count, views),
        "share_without_fg": _ratio(views - targets.count_with_fg(), views),
    }


def _train(command: StageCommand, root: Path) -> dict[str, float]:
    history = read_numbers(root / command.out / "history.csv", "iteration", "loss")
    losses = [name for name in history if name not in ("iteration", "lr")]
    return {
        "iterations": history["iteration"][-1],
        **{f"{name}_first": history[name][0] for name in losses},
        **{f"{name}_last": history[name][-1] for name in losses},
    }


def _proposals(command: StageCommand, root: Path) -> dict[str, float]:
    ids = _image_ids(root / command.input("resize"), "train")
    proposals = StoredProposals(root / command.out)
    return {
        "images": len(ids),
        "proposals_per_image": _ratio(len(proposals), proposals.count_entries(len(ids))),
        "recall50": _recall(proposals, root / command.input("resize"), ids),
    }


def _recall(proposals: StoredProposals, resize: Path, ids: np.ndarray) -> float:
    """Share of the trainable gt boxes of the plain images that any proposal reaches with IoU .5."""
    gt = NetworkImages(resize)
    counter = RecallCounter([_ALL])
    for image_id in ids:
        entry = Entry(str(image_id))
        counter.add(proposals[entry].boxes, gt.gt_of(entry).trainable.boxes)
    return counter.recall(_ALL, 0.5)


def _proposal_targets(command: StageCommand, root: Path) -> dict[str, float]:
    targets = ProposalTargets(root / command.out)
    images = len(_image_ids(root / command.input("resize"), "train"))
    views = targets.count_entries(images)
    labels = _label_counts(targets)
    return {
        "images": images,
        "fg_per_image": _ratio(labels[0], views),
        "bg_per_image": _ratio(labels[1], views),
        "ignored_per_image": _ratio(labels[2], views),
    }


def _label_counts(targets: ProposalTargets) -> np.ndarray:
    counts = np.zeros(3, dtype=np.int64)
    for label in targets.label_groups():
        counts += [np.count_nonzero(label > 0), np.count_nonzero(label == 0), np.count_nonzero(label < 0)]
    return counts


def _features(command: StageCommand, root: Path) -> dict[str, float]:
    folder = root / command.out
    maps = open_parquet(folder / "images.parquet", FEATURE_IMAGES).metadata.num_rows
    return {"maps": maps, "MB": _megabytes(folder, "maps-*.npz") if maps else 0.0}


def _detect(command: StageCommand, root: Path) -> dict[str, float]:
    of_split = {split: _image_ids(root / command.input("resize"), split) for split in ("val", "test")}
    rows = read_columns(root / command.out / "detections.parquet", DETECTIONS, ["image_id"])
    found = pa.array(rows["image_id"], type=pa.string())
    figures: dict[str, float] = {}
    for split, ids in of_split.items():
        if split == "test" or len(ids):
            figures[f"{split}_images"] = len(ids)
            figures[f"{split}_detections_per_image"] = _ratio(_count_members(found, ids), len(ids))
    return figures


def _evaluate(command: StageCommand, root: Path) -> dict[str, float]:
    metrics = read_metrics(root / command.out)
    return {name: value for name, value in metrics.items() if type(value) in (int, float)}  # type: ignore[misc]


def _count_plain(path: Path, schema: pa.Schema) -> int:
    """Images of an index that has a row a view."""
    return int(np.count_nonzero(read_columns(path, schema, ["view"])["view"] == 0))


def _image_ids(resize: Path, split: str) -> np.ndarray:
    images = read_columns(resize / "images.parquet", RESIZED_IMAGES, ["image_id", "view", "split"])
    ids: np.ndarray = images["image_id"][(images["split"] == split) & (images["view"] == 0)]
    return ids


def _ratio(count: float, of: int) -> float:
    return float(count) / of if of else math.nan


def _megabytes(folder: Path, pattern: str) -> float:
    sizes = [path.stat().st_size for path in folder.glob(pattern)]
    if not sizes:
        raise InputError(f"{folder}: holds no {pattern}; dvc repro {folder.name}")
    return sum(sizes) / 1e6


_METRICS: dict[str, Callable[[StageCommand, Path], dict[str, float]]] = {
    "dataset": _dataset,
    "backbone": _backbone,
    "resize": _resize,
    "anchor_targets": _anchor_targets,
    "train_rpn": _train,
    "proposals": _proposals,
    "proposal_targets": _proposal_targets,
    "train_head": _train,
    "features": _features,
    "frozen_features": _features,
    "finetune_joint": _train,
    "detect": _detect,
    "evaluate": _evaluate,
}
