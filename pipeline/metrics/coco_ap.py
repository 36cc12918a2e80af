"""COCO's average precision and recall, measured by the library faster_coco_eval, and the detections and ground truth in
COCO's own format for any other tool. The library is loaded on first use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np

from pipeline.metrics.rows import DetectionRows, GtRows

_MOST_HELD = 25_000
"""Detections of classes that are judged together. An image counts too, once per class, as a quarter of one: the library
keeps 1.5 kB for a detection, and something for each image and class, whatever is in it."""
_NO_MASK: list[float] = []
_AXIS_OF_CLASSES = {"precision": 2, "recall": 1}

Rows = TypeVar("Rows", DetectionRows, GtRows)

COCO_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def coco_metrics(detections: DetectionRows, ground_truth: GtRows) -> dict[str, float]:
    """The twelve figures of the COCO benchmark (cocodataset.org, "Detection Evaluation").

    AP and AR are means over the classes and over IoU .5, .55, ..., .95; s, m, l take gt boxes of area below 32 x 32, up
    to 96 x 96 and above; AR1, AR10 and AR100 take that many detections per image and class, all others 100.

    Args:
        detections: D boxes, pixels of the original image.
        ground_truth: G boxes, pixels of the original image. Their area is that of the box, not of a mask. Crowd boxes
            are ignored as COCO does; difficult boxes, which COCO does not know, are treated as crowd, and ignore
            regions as a crowd of every class.

    Returns:
        one float for each name in COCO_METRICS, 0..1, or -1.0, as in COCO, where there is no gt box to be found (for
        instance APs without small objects).
    """
    if ground_truth.ignored.all():
        return dict.fromkeys(COCO_METRICS, -1.0)
    ground_truth = _regions_of_every_class(ground_truth)
    count = 1 + max(int(detections.image.max(initial=0)), int(ground_truth.image.max()))
    labels = 1 + max(int(detections.label.max(initial=0)), int(ground_truth.label.max()))
    of_label = np.bincount(detections.label, minlength=labels)
    accumulated = []
    for first, end in _groups((of_label[1:] + count // 4).tolist()):
        found, truth = _of_classes(detections, first, end), _of_classes(ground_truth, first, end)
        accumulated.append(_accumulated(found, truth, range(count), range(1 + end - first)))
    from faster_coco_eval import COCOeval_faster

    whole = COCOeval_faster(iouType="bbox", print_function=_print_nothing)
    whole.eval = {
        name: np.concatenate([own[name] for own in accumulated], axis) for name, axis in _AXIS_OF_CLASSES.items()
    }
    whole.summarize()
    return {name: float(value) for name, value in zip(COCO_METRICS, whole.stats, strict=True)}


def _groups(counts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of classes, each of one or of several that count at most `_MOST_HELD` together."""
    first = held = 0
    for place, count in enumerate(counts):
        if place > first and held + count > _MOST_HELD:
            yield first, place
            first, held = place, 0
        held += count
    yield first, len(counts)


def _of_classes(rows: Rows, first: int, end: int) -> Rows:
    """The rows of classes above `first` up to `end`, which are 1 and so on."""
    keep = (first < rows.label) & (rows.label <= end)
    kept = {column.name: getattr(rows, column.name)[keep] for column in fields(rows)}
    return replace(rows, **{**kept, "label": kept["label"] - first})


def _accumulated(
    found: DetectionRows, truth: GtRows, image_ids: Sequence[int], category_ids: Sequence[int]
) -> dict[str, np.ndarray]:
    """What the library has accumulated: `precision` (T, R, K, A, M) and `recall` (T, K, A, M) of T IoUs, R recalls, K
    classes, A ranges of areas and M numbers of detections."""
    from faster_coco_eval import COCO, COCOeval_faster

    own = COCO(coco_ground_truth(truth, image_ids, category_ids), print_function=_print_nothing)
    boxes = coco_results(found, image_ids, category_ids)
    for box in boxes:
        box["segmentation"] = _NO_MASK  # else the library makes one of each box
    evaluation = COCOeval_faster(own, own.loadRes(boxes), iouType="bbox", print_function=_print_nothing)
    evaluation.evaluate()
    evaluation.accumulate()
    return {name: evaluation.eval[name] for name in _AXIS_OF_CLASSES}


def coco_results(
    detections: DetectionRows, image_ids: Sequence[int], category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """The detections as a COCO results file holds them.

    Args:
        detections: D boxes, pixels of the original image.
        image_ids: (N,) COCO's id of each image index.
        category_ids: (C,) COCO's id of each class index; that of the background is not used.

    Returns:
        D dicts, in row order: `image_id` int, `category_id` int, `bbox` [x, y, width, height] in pixels, `score`.
    """
    return [
        {"image_id": image_ids[image], "category_id": category_ids[label], "bbox": box, "score": score}
        for image, label, box, score in zip(
            detections.image.tolist(),
            detections.label.tolist(),
            _xywh(detections.boxes),
            detections.score.tolist(),
            strict=True,
        )
    ]


def coco_ground_truth(
    ground_truth: GtRows,
    image_ids: Sequence[int],
    category_ids: Sequence[int],
    class_names: Sequence[str] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """The ground truth as a COCO instances file holds it, without masks.

    Args:
        ground_truth: G boxes, pixels of the original image.
        image_ids: (N,) COCO's id of each image index; images without a gt box belong here too.
        category_ids: (C,) COCO's id of each class index; that of the background is not used.
        class_names: (C,) names of the classes, background included; None names a class by its id.

    Returns:
        `images` (`id`), `categories` (`id`, `name`) and `annotations`, one per gt box in row order: `id` from 1,
        `image_id`, `category_id`, `bbox` [x, y, width, height] in pixels, `area` in square pixels, `iscrowd` 1 for
        crowd and difficult boxes.
    """
    names = [str(identity) for identity in category_ids] if class_names is None else class_names
    annotations = [
        {
            "id": number,
            "image_id": image_ids[image],
            "category_id": category_ids[label],
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": int(ignored),
        }
        for number, (image, label, box, ignored) in enumerate(
            zip(
                ground_truth.image.tolist(),
                ground_truth.label.tolist(),
                _xywh(ground_truth.boxes),
                ground_truth.ignored.tolist(),
                strict=True,
            ),
            start=1,
        )
    ]
    return {
        "images": [{"id": identity} for identity in image_ids],
        "categories": [
            {"id": identity, "name": name} for identity, name in zip(category_ids[1:], names[1:], strict=True)
        ],
        "annotations": annotations,
    }


def _regions_of_every_class(ground_truth: GtRows) -> GtRows:
    """Each ignore region as a crowd box of each class that has a box to be found; other classes have no AP."""
    regions = np.flatnonzero(ground_truth.is_region)
    if len(regions) == 0:
        return ground_truth
    classes = np.unique(ground_truth.label[~ground_truth.is_region])
    rows = np.concatenate([np.flatnonzero(~ground_truth.is_region), np.repeat(regions, len(classes))])
    labels = np.concatenate([ground_truth.label[~ground_truth.is_region], np.tile(classes, len(regions))])
    crowd = ground_truth.iscrowd | ground_truth.is_region
    return GtRows(ground_truth.image[rows], labels, ground_truth.boxes[rows], ground_truth.difficult[rows], crowd[rows])


def _xywh(boxes: np.ndarray) -> list[list[float]]:
    corners = boxes.astype(np.float64)
    xywh: list[list[float]] = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
    return xywh


def _print_nothing(*_: object) -> None:
    """Replaces the library's progress lines."""
