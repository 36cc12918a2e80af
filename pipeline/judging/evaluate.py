"""AP of detections of any origin on a data set of any format that the project reads, at one IoU.

All detections of the file are judged. Images are matched by name, and classes however each writes them
(`pipeline.datasets.same_class`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.artifacts.atomic import atomic_file, write_text
from pipeline.bundle.evaluate import open_dataset
from pipeline.datasets.base import SPLITS
from pipeline.datasets.class_names import BACKGROUND
from pipeline.datasets.findings import summary
from pipeline.datasets.same_class import rows_of_classes
from pipeline.judging.found import Found
from pipeline.judging.images import ImageNames
from pipeline.judging.reading import read_detections
from pipeline.metrics.coco_ap import coco_metrics
from pipeline.metrics.figures import rounded
from pipeline.metrics.rows import DetectionRows, GtRows
from pipeline.metrics.voc_ap import ClassAP, VocAP, voc_ap
from pipeline.params.dataset import DatasetParams
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text
from pipeline.views.charts import lines, picture

_CURVE_POINTS = 101
_MOST_NAMED = 12  # curves that a legend tells apart
_COCO = ("AP", "AP50", "AP75")


@dataclass(frozen=True)
class Judged:
    """Figures for metrics.json; the curves, columns class, recall, precision; and lines on what was not judged."""

    metrics: dict[str, Any]
    curves: pd.DataFrame
    remarks: list[str]


def judge_detections(path: Path, root: Path, params: DatasetParams, split: str, iou: float) -> Judged:
    """Judge a file of detections on a split of a data set.

    Raises:
        InputError: the file or the data set cannot be read, they share no image or no class, or `iou` is none.
    """
    if not 0 < iou <= 1:
        raise InputError(f"--iou {iou:g}: is not an IoU; give a number above 0 and at most 1")
    if split not in SPLITS:
        raise InputError(f"--split {split}: no such split; there are {', '.join(SPLITS)}")
    data = open_dataset(root, params)
    own = ImageNames()
    parts: list[tuple[np.ndarray, ...]] = []
    count = 0
    for image in data.images:
        own.add(image, count if image.split == split else None)
        if image.split != split:
            continue
        index = np.full(len(image.boxes), count, np.int64)
        parts.append((index, image.labels.astype(np.int64), image.boxes, image.difficult, image.iscrowd))
        count += 1
    if not count:
        raise InputError(f"{root}: has no {split} images; give another --split")
    truth = GtRows(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    found = read_detections(path, root, params, split, data.classes)
    rows, remarks = _matched(found, path, data.classes, own, split)
    remarks = [*data.remarks, *(f"findings: {line}" for line in summary(data.findings)), *remarks]
    voc = voc_ap(rows, truth, len(data.classes) + 1, iou)
    coco = coco_metrics(rows, truth)
    metrics = {
        "form": found.form,
        "iou": iou,
        "mAP": voc.mean_all_point,
        "mAP_11point": voc.mean_11_point,
        **{f"coco_{name}": coco[name] for name in _COCO},
        "images": count,
        "detections": len(rows),
        "classes": {data.classes[one.label - 1]: _figures(one) for one in voc.classes},
    }
    return Judged(rounded(metrics), curves_of(voc, data.classes), remarks)


def _matched(
    found: Found, path: Path, classes: Sequence[str], own: ImageNames, split: str
) -> tuple[DetectionRows, list[str]]:
    """The detections of images and classes that the split has, and lines on the others."""
    names = list(dict.fromkeys(found.classes))
    label_of = {
        names[place - 1]: label
        for place, label in rows_of_classes([BACKGROUND, *names], [BACKGROUND, *classes])
        if place
    }
    if names and not label_of:
        raise InputError(
            f"{path}: is of {_listed(names)}, and the data set of {_listed(classes)}; give detections of it"
        )
    places = {name: own.find(name) for name in dict.fromkeys(found.images)}
    if places and all(place is None for place in places.values()):
        raise InputError(
            f"{path}: none of its images, such as {next(iter(places))}, is one of the {split} images; "
            "give another --split or --data"
        )
    unknown = [image for image in found.images if places[image] is None]
    strange = [name for name in found.classes if name not in label_of]
    keep = [
        row
        for row, (image, name) in enumerate(zip(found.images, found.classes, strict=True))
        if places[image] is not None and name in label_of
    ]
    remarks = [
        f"{count_text(len(left), 'detection')} of {what}: left out, {_listed(list(dict.fromkeys(left)))}"
        for left, what in (
            (unknown, f"images that the {split} split does not have"),
            (strange, "classes that the data set does not have"),
        )
        if left
    ]
    rows = DetectionRows(
        np.array([places[found.images[row]] for row in keep], np.int64),
        np.array([label_of[found.classes[row]] for row in keep], np.int64),
        np.array([found.scores[row] for row in keep], np.float32),
        np.array([found.boxes[row] for row in keep], np.float32).reshape(-1, 4),
    )
    return rows, remarks


def _figures(one: ClassAP) -> dict[str, float | int]:
    recall = float(one.recall[-1]) if len(one.recall) else 0.0
    return {
        "AP": one.ap_all_point,
        "AP_11point": one.ap_11_point,
        "gt_boxes": one.positives,
        "detections": len(one.score),
        "recall": recall if one.positives else float("nan"),
    }


def curves_of(voc: VocAP, classes: Sequence[str]) -> pd.DataFrame:
    """Interpolated precision at recalls 0, .01, ..., 1 of each class that has a gt box."""
    levels = np.linspace(0, 1, _CURVE_POINTS)
    parts = []
    for curve in (one for one in voc.classes if one.positives):
        best = np.append(np.maximum.accumulate(curve.precision[::-1])[::-1], 0.0)
        precision = best[np.searchsorted(curve.recall, levels - 1e-9)]  # 7 / 100 is below 7 * .01
        parts.append(pd.DataFrame({"class": classes[curve.label - 1], "recall": levels, "precision": precision}))
    return pd.concat(parts) if parts else pd.DataFrame({"class": [], "recall": [], "precision": []})


def report_lines(judged: Judged) -> list[str]:
    """Lines for a person: what was judged, the remarks, the means, one row per class."""
    metrics, of_classes = judged.metrics, judged.metrics["classes"]
    means = {
        f"mAP at IoU {metrics['iou']:g}": metrics["mAP"],
        "the same, 11 points": metrics["mAP_11point"],
        **{f"COCO's {name}": metrics[f"coco_{name}"] for name in _COCO},
        "images": metrics["images"],
        "detections": metrics["detections"],
    }
    width = max(len(name) for name in (*means, *of_classes))
    head = f"{'':{width}}  {'AP':>6}  {'11 pt':>6}  {'recall':>6}  {'gt':>7}  {'detections':>10}"
    return [
        f"judged: all {metrics['form']}, at IoU {metrics['iou']:g}",
        *judged.remarks,
        "",
        *(f"{name:{width}}  {_shown(value)}" for name, value in means.items()),
        "",
        head,
        *(
            f"{name:{width}}  {_shown(row['AP'])}  {_shown(row['AP_11point'])}  {_shown(row['recall'])}  "
            f"{row['gt_boxes']:>7,}  {row['detections']:>10,}"
            for name, row in of_classes.items()
        ),
    ]


def write_judged(judged: Judged, out: Path) -> list[Path]:
    """Write metrics.json, pr_curves.csv and pr_curves.png into a folder; their paths.

    Raises:
        InputError: they cannot be written.
    """
    paths = [out / name for name in ("metrics.json", "pr_curves.csv", "pr_curves.png")]
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_text(paths[0], json.dumps(judged.metrics, indent=1, allow_nan=False) + "\n")
        write_text(paths[1], judged.curves.round(6).to_csv(index=False))
        if len(judged.curves) == 0:
            return paths[:2]
        with atomic_file(paths[2]) as temporary:
            temporary.write_bytes(_picture(judged))
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror}); choose another folder") from error
    return paths


def _picture(judged: Judged) -> bytes:
    curves, of_classes = judged.curves, judged.metrics["classes"]
    title = f"Precision over recall at IoU {judged.metrics['iou']:g}"
    names = curves["class"].unique()
    if len(names) <= _MOST_NAMED:
        table = curves.assign(series=[f"AP {of_classes[name]['AP']:.2f} {name}" for name in curves["class"]])
    else:
        mean = curves.groupby("recall", as_index=False)["precision"].mean()
        table = mean.assign(series=f"mean of {len(names)} classes")
    chart = lines(table, "recall", "precision", "series", x_title="recall", y_title="precision")
    return picture(chart.properties(title=title, width=480, height=320), title).data


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _shown(value: float | int | None) -> str:
    return f"{'-':>6}" if value is None else f"{value:6.4f}" if isinstance(value, float) else f"{value:6,}"
