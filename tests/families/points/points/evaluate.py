"""A figure of its own: how far the centres of what is found are off."""

from __future__ import annotations

import numpy as np

from pipeline.artifacts.dataset_tables import DATASET_BOXES
from pipeline.artifacts.matches import MATCHES
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.tables import boxes_of, read_columns
from pipeline.params.section import Section
from pipeline.runtime.stage import Stage

SECTIONS: dict[str, type[Section]] = {}


def figures(stage: Stage, images: ResizedImages) -> dict[str, float]:
    """`centre_error`: the mean distance of the centre of a correct detection from that of its gt box, as a share of
    that box's diagonal; NaN without any."""
    found = read_columns(stage.out / "matches.parquet", MATCHES)
    truth = read_columns(stage.input("dataset") / "boxes.parquet", DATASET_BOXES)
    ids, first = np.unique(truth["image_id"], return_index=True)
    correct = found["kind"] == "correct"
    rows = first[np.searchsorted(ids, found["image_id"][correct])] + found["gt"][correct]
    boxes, gt = boxes_of(found)[correct], boxes_of(truth)[rows]
    apart = np.linalg.norm((boxes[:, :2] + boxes[:, 2:] - gt[:, :2] - gt[:, 2:]) / 2, axis=1)
    shares = apart / np.linalg.norm(gt[:, 2:] - gt[:, :2], axis=1)
    return {"centre_error": float(shares.mean()) if len(shares) else float("nan")}
