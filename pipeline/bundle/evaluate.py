"""Evaluates a bundle on a data set in any format that the project reads.

Classes are matched by name, however each writes it (`pipeline.datasets.same_class`). Objects of classes that the bundle
lacks are left out, as are detections of classes that the data set lacks. Of each image those detections count that the
evaluate stages would count, by the same threshold and limit for bundles of all families.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from pipeline.artifacts.atomic import write_text
from pipeline.artifacts.dataset_tables import DATASET_BOXES, DATASET_IMAGES
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.tables import boxes_of, read_columns
from pipeline.bundle.detector import Detector
from pipeline.bundle.stage_classes import read_stage_classes
from pipeline.datasets.base import SPLITS, AnnotatedImage, Dataset, Split
from pipeline.datasets.class_names import BACKGROUND
from pipeline.datasets.findings import summary
from pipeline.datasets.reading import read_dataset
from pipeline.datasets.same_class import rows_of_classes
from pipeline.metrics.error_kinds import judge
from pipeline.metrics.figures import detection_figures, rounded
from pipeline.metrics.rows import DetectionRows, GtRows
from pipeline.metrics.voc_ap import voc_ap
from pipeline.params.dataset import DatasetParams
from pipeline.params.evaluate import EvaluateParams
from pipeline.params.limits import check_limits
from pipeline.runtime.errors import InputError
from pipeline.runtime.progress import track
from pipeline.runtime.words import count_text


@dataclass(frozen=True)
class Evaluation:
    """Figures as in an evaluate stage's metrics.json, without those of the family; which detections were judged; and
    lines on what was not."""

    metrics: dict[str, object]
    judged: EvaluateParams
    remarks: list[str]


def is_of_stage(root: Path) -> bool:
    """Whether the tables of a dataset stage lie in a folder."""
    own = ("classes.json", "findings.parquet")  # either may be missing
    return (root / "images.parquet").is_file() and any((root / name).is_file() for name in own)


def open_dataset(root: Path, params: DatasetParams) -> Dataset:
    """The data set below `root`: that of a dataset stage, where its tables lie there, else what params.yaml names.

    Raises:
        InputError: there is none, or `dataset.reader` is shapes, which reads no folder.
    """
    if is_of_stage(root):
        return _of_stage(root)
    if params.reader == "shapes":
        raise InputError(
            "dataset.reader is shapes, which are generated; give --preset NAME or --set dataset.reader=voc"
        )
    return read_dataset(root, params)


def evaluate(
    detector: Detector, root: Path, params: DatasetParams, split: str, judged_by: EvaluateParams
) -> Evaluation:
    """Detect in the images of a split and judge the detections, as the evaluate stages do.

    Args:
        root: folder of the data set. params: which reader, and its settings. split: train, val or test.
        judged_by: which detections count.

    Raises:
        InputError: no such split or no image in it, a data set that cannot be read, none of its classes is one of the
            bundle's, or the bundle keeps fewer detections than are to be judged.
    """
    if split not in SPLITS:
        raise InputError(f"--split {split}: no such split; there are {', '.join(SPLITS)}")
    check_limits(detector.settings.params.own_sections(), judged_by, "the bundle", with_option=True)
    data = open_dataset(root, params)
    pairs = sorted((own, theirs) for theirs, own in rows_of_classes([BACKGROUND, *data.classes], detector.classes)[1:])
    if not pairs:
        raise InputError(
            f"{root}: has none of the bundle's classes ({_listed(detector.classes[1:])}) but {_listed(data.classes)}; "
            "give data of the same class names"
        )
    judged = [data.classes[theirs - 1] for _, theirs in pairs]
    label_of = {theirs: label for label, (_, theirs) in enumerate(pairs, start=1)}
    own = np.zeros(len(detector.classes), np.int64)
    own[[label for label, _ in pairs]] = np.arange(1, len(pairs) + 1)
    images = [image for image in data.images if image.split == split]
    found, truth = _Rows(), _Rows()
    for index, image in enumerate(track(images, "evaluate", total=len(images))):
        detections = detector(_path_of(root, image)).above(judged_by.score_threshold).best(judged_by.per_image)
        labels = own[detections.labels]
        found.add(index, labels, detections.boxes, labels > 0, detections.scores)
        labels = np.array([label if label < 0 else label_of.get(int(label), 0) for label in image.labels], np.int64)
        truth.add(index, labels, image.boxes, labels != 0, image.difficult, image.iscrowd)
    if not images:
        raise InputError(
            f"{root}: has no {split} images; give another --split or --set dataset.{params.reader}.{split}"
        )
    indices, labels, boxes, scores = found.columns(np.float32)
    results = DetectionRows(indices, labels, scores, boxes)
    gt = GtRows(*truth.columns(np.bool_, np.bool_))
    voc = voc_ap(results, gt, len(judged) + 1)
    metrics = {
        **detection_figures(results, gt, voc, judge(results, gt), ["background", *judged], judged_by.confusion_score),
        "images": len(images),
        "detections": len(results),
    }
    return Evaluation(cast(dict[str, object], rounded(metrics)), judged_by, _remarks(detector, data, pairs))


def report(evaluation: Evaluation) -> list[str]:
    """Lines for a person: what was judged, the remarks, the figures, AP at IoU 0.5 by class, the errors by kind."""
    judged = evaluation.judged
    figures = {name: value for name, value in evaluation.metrics.items() if not isinstance(value, dict)}
    tables = {
        "": figures,
        "AP50 by class": cast(dict[str, object], evaluation.metrics["class_AP50"]),
        f"errors, detections of score {judged.confusion_score:g} and up": cast(
            dict[str, object], evaluation.metrics["errors"]
        ),
    }
    width = max(len(name) for rows in tables.values() for name in rows)
    lines = [
        f"judged: detections of score {judged.score_threshold:g} and up, at most {judged.per_image} of an image "
        "(evaluate.score_threshold, evaluate.per_image)",
        *evaluation.remarks,
    ]
    for title, rows in tables.items():
        lines += ["", title] if title else []
        lines += [f"{name:{width}}  {_shown(value)}" for name, value in rows.items()]
    return lines


def write_metrics(evaluation: Evaluation, out: Path) -> Path:
    """Write metrics.json into the folder `out`, or to `out` where that ends in .json; return its path.

    Raises:
        InputError: it cannot be written.
    """
    path = out if out.suffix == ".json" else out / "metrics.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(evaluation.metrics, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror}); choose another place") from error
    return path


class _Rows:
    """Rows of boxes, image by image: the image's index, labels, boxes and further columns."""

    def __init__(self) -> None:
        self._parts: list[tuple[np.ndarray, ...]] = []

    def add(self, index: int, labels: np.ndarray, boxes: np.ndarray, keep: np.ndarray, *others: np.ndarray) -> None:
        image = np.full(int(np.count_nonzero(keep)), index, np.int64)
        self._parts.append((image, labels[keep], boxes[keep], *(column[keep] for column in others)))

    def columns(self, *kinds: type) -> list[np.ndarray]:
        """The columns of all images; `kinds` are the dtypes of the further ones."""
        empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4), np.float32))
        none = (*empty, *(np.zeros(0, kind) for kind in kinds))
        return [np.concatenate(column) for column in zip(none, *self._parts, strict=True)]


def _of_stage(folder: Path) -> Dataset:
    classes = read_stage_classes(folder / "classes.json")
    return Dataset(tuple(classes[1:]), _rows_of_stage(folder, len(classes)))


def _rows_of_stage(folder: Path, classes: int) -> Iterator[AnnotatedImage]:
    images = read_columns(folder / "images.parquet", DATASET_IMAGES)
    boxes = ImageRows(folder / "boxes.parquet", DATASET_BOXES)
    columns = (images[name].tolist() for name in ("image_id", "split", "file", "width", "height"))
    for image_id, split, file, width, height in zip(*columns, strict=True):
        rows = boxes[image_id, 0]
        if (rows["label"] >= classes).any():
            named = count_text(classes - 1, "class", "classes")
            raise InputError(
                f"{folder / 'classes.json'}: names {named}, and boxes.parquet has label {rows['label'].max()}; "
                "run the dataset stage again"
            )
        flags = (rows["difficult"].astype(bool), rows["iscrowd"].astype(bool))
        yield AnnotatedImage(image_id, cast(Split, split), file, width, height, boxes_of(rows), rows["label"], *flags)


def _path_of(root: Path, image: AnnotatedImage) -> Path:
    """A reader's files lie below the root; those of a dataset stage in its folder, or in data/raw beside it."""
    place, _, rest = image.file.partition("/")
    if place == "raw" and (root / "images.parquet").is_file():
        return root.parent / "raw" / rest
    return root / rest


def _remarks(detector: Detector, data: Dataset, pairs: Sequence[tuple[int, int]]) -> list[str]:
    """`pairs`: the labels of each class that is judged, in the bundle and in the data set."""
    own, theirs = ({pair[side] for pair in pairs} for side in (0, 1))
    unknown = [name for label, name in enumerate(data.classes, start=1) if label not in theirs]
    absent = [name for label, name in enumerate(detector.classes[1:], start=1) if label not in own]
    lines = [*data.remarks, *(f"findings: {line}" for line in summary(data.findings))]
    if unknown:
        lines.append(f"classes that the bundle lacks, whose objects are left out: {_listed(unknown)}")
    if absent:
        lines.append(f"classes that the data set lacks, whose detections are left out: {_listed(absent)}")
    return lines


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-" if value is None else str(value)
