"""The data set: images and boxes, findings, box sizes compared with anchors."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from pipeline.artifacts.dataset_tables import DATASET_IMAGES
from pipeline.artifacts.findings_table import FINDINGS
from pipeline.artifacts.resized_tables import RESIZED_BOXES, RESIZED_IMAGES
from pipeline.artifacts.tables import Columns, boxes_of, read_columns
from pipeline.geometry.anchors import grid_shapes
from pipeline.preflight.anchor_fit import has_anchors, placement_of
from pipeline.report.family_report import family_report
from pipeline.report.page import Chart, PageSection, Part, Row, Table, Text
from pipeline.report.run import Run
from pipeline.views import charts
from pipeline.views.json_files import read_json
from pipeline.views.levels import head_layout

_LEAD = (
    "What the detector is trained on. It sees resized images, and predicts at the cells of its feature maps, which lie "
    "one stride apart."
)
_ANCHORS_LEAD = (
    "An anchor is a box of fixed shape at each cell, and a gt box can only be learned if some anchor comes near it."
)
_MOST_POINTS = 2_000
_MOST_CLASSES = 25


def data_section(run: Run) -> PageSection:
    """Counts by split, findings, classes, sizes and the best IoU of each training box."""
    dataset, resize = run.need("dataset"), run.need("resize")
    images = read_columns(dataset / "images.parquet", DATASET_IMAGES, ["image_id", "split"])
    boxes = _plain(read_columns(resize / "boxes.parquet", RESIZED_BOXES))
    names = ["image_id", "view", "split", "width", "height"]
    rows = _plain(read_columns(resize / "images.parquet", RESIZED_IMAGES, names))
    classes = read_json(resize / "classes.json", list, "list of class names")
    order = {image_id: i for i, image_id in enumerate(rows["image_id"])}
    image = np.array([order[image_id] for image_id in boxes["image_id"]], dtype=np.int64)
    split = rows["split"][image] if len(image) else np.array([], dtype=object)
    learnt = ~(boxes["difficult"] | boxes["iscrowd"] | (boxes["label"] < 0))
    splits = [name for name in ("train", "val", "test") if (images["split"] == name).any()]
    counts = Table(
        ["", *splits],
        [
            ["images", *[f"{int((images['split'] == name).sum()):,}" for name in splits]],
            ["gt boxes", *[f"{int((learnt & (split == name)).sum()):,}" for name in splits]],
            ["difficult, crowds, ignored", *[f"{int((~learnt & (split == name)).sum()):,}" for name in splits]],
        ],
        "l" + "r" * len(splits),
    )
    per_class = pd.DataFrame(
        [
            {"class": name, "split": own, "boxes": int((learnt & (split == own) & (boxes["label"] == label)).sum())}
            for label, name in enumerate(classes)
            if label
            for own in splits
        ]
    )
    shown = per_class.groupby("class")["boxes"].sum().sort_values(ascending=False).index[:_MOST_CLASSES]
    order_of = {name: i for i, name in enumerate(shown)}
    per_class = per_class[per_class["class"].isin(order_of)].sort_values(
        "class", key=lambda names: names.map(order_of), kind="stable"
    )
    cut = f" The {_MOST_CLASSES} most frequent of {len(classes) - 1}." if len(classes) - 1 > _MOST_CLASSES else ""
    parts: list[Part] = [counts, _findings(run)]
    by_class = Chart(
        charts.counts(per_class, "class", "boxes", "split", title="gt boxes (symlog scale)"),
        f"Boxes of each class.{cut}",
    )
    train = learnt & (split == "train")
    if train.any():
        against = _against_anchors if has_anchors(run.params) else _against_levels
        parts.append(Row([by_class, *against(run, boxes, rows, image, train, classes)]))
    else:
        parts += [by_class, Text("No training image has a box.", missing=True)]
    lead = f"{_LEAD} {_ANCHORS_LEAD}" if has_anchors(run.params) else _LEAD
    return PageSection("data", "The data", family_report(run).lead("data", lead), parts)


def _plain(columns: Columns) -> Columns:
    """The rows of view 0."""
    return {name: values[columns["view"] == 0] for name, values in columns.items()}


def _findings(run: Run) -> Part:
    found = read_columns(run.folder("dataset") / "findings.parquet", FINDINGS)
    if not len(found["kind"]):
        return Text("Nothing was found wrong with the annotations and the images.")
    counts = read_json(run.folder("dataset") / "metrics.json", dict, "object of counts")["findings"]
    frame = pd.DataFrame({name: found[name] for name in ("kind", "action", "file", "detail")})
    rows = [
        [kind, action, f"{counts[kind][action]:,}", f"{own['file'].iloc[0]}: {own['detail'].iloc[0]}"]
        for (kind, action), own in sorted(
            frame.groupby(["kind", "action"]), key=lambda pair: -counts[pair[0][0]][pair[0][1]]
        )
    ]
    return Table(["finding", "what was done", "how often", "for instance"], rows, "llrl")


def _against_anchors(
    run: Run,
    boxes: dict[str, np.ndarray],
    rows: dict[str, np.ndarray],
    image: np.ndarray,
    train: np.ndarray,
    classes: list[str],
) -> list[Chart]:
    params = run.params.anchors
    shapes = grid_shapes(params.base_size, params.ratios, params.scales)
    corners, sizes = _sizes(boxes, train)
    hw = np.stack([rows["height"], rows["width"]], axis=1)[image[train]]
    placement = placement_of(run.params)
    best = placement.best_iou(corners, hw, shapes)
    few = _few(sizes)
    cloud = _cloud(boxes, sizes, train, classes)
    of_levels, names = placement.of_levels(shapes), list(itertools.product(params.ratios, params.scales))
    anchors = pd.DataFrame(
        {
            "width": np.concatenate(of_levels)[:, 0],
            "height": np.concatenate(of_levels)[:, 1],
            "anchor": [
                f"{placement.layout.prefix(level)}ratio {ratio:g}, scale {scale:g}"
                for level in range(len(of_levels))
                for ratio, scale in names
            ],
        }
    ).round(1)
    levels = f" on each of {len(of_levels)} levels" if len(of_levels) > 1 else ""
    below = {iou: float((best < iou).mean()) for iou in (0.5, 0.7)}
    return [
        Chart(
            charts.box_sizes(cloud, anchors),
            f"{len(cloud):,} of {len(sizes):,} training boxes (dots), {len(shapes)} anchors of a location{levels} "
            "(squares).",
        ),
        Chart(
            charts.histogram(pd.DataFrame({"iou": best[few].round(3)}), "iou", title="IoU", marks=(0.5, 0.7)),
            f"IoU of each training box with the nearest anchor of all: {below[0.5]:.1%} are below .5, {below[0.7]:.1%} "
            "below .7. frcnn check-data proposes anchors.",
        ),
    ]


def _against_levels(
    run: Run,
    boxes: dict[str, np.ndarray],
    rows: dict[str, np.ndarray],
    image: np.ndarray,
    train: np.ndarray,
    classes: list[str],
) -> list[Chart]:
    """Of detectors without anchors: boxes among the cells of the levels on which the heads predict."""
    _, sizes = _sizes(boxes, train)
    strides = head_layout(run.params).strides
    cells = pd.DataFrame(
        {"width": strides, "height": strides, "anchor": [f"a cell of stride {own}" for own in strides]}
    )
    cloud = _cloud(boxes, sizes, train, classes)
    small = float((sizes.min(axis=1) < strides[0]).mean())
    every = ", ".join(map(str, strides))
    return [
        Chart(
            charts.box_sizes(cloud, cells),
            f"{len(cloud):,} of {len(sizes):,} training boxes (dots), and a cell of each level (squares, strides of "
            f"{every} px): {small:.1%} of the boxes have a side shorter than a cell of the finest.",
        )
    ]


def _sizes(boxes: dict[str, np.ndarray], train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 4) corners and (N, 2) widths and heights of the boxes of train, px of the resized images."""
    corners = boxes_of(boxes)[train]
    return corners, np.maximum(corners[:, 2:] - corners[:, :2], 1e-3)


def _few(sizes: np.ndarray) -> slice:
    # Evenly spread over the data set, so that no chance is needed.
    return slice(None, None, max(1, -(-len(sizes) // _MOST_POINTS)))


def _cloud(boxes: dict[str, np.ndarray], sizes: np.ndarray, train: np.ndarray, classes: list[str]) -> pd.DataFrame:
    few, names = _few(sizes), np.array(classes)[boxes["label"][train].astype(np.int64)]
    return pd.DataFrame({"width": sizes[few, 0], "height": sizes[few, 1], "class": names[few]}).round(1)
