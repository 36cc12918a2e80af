"""detections.parquet of a detect stage."""

from __future__ import annotations

from pathlib import Path

from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.tables import boxes_of, read_columns
from pipeline.bundle.stage_classes import read_stage_classes
from pipeline.judging.found import Found
from pipeline.runtime.errors import InputError


def read_stage_detections(path: Path, data: Path) -> Found:
    """Read the table; its labels are rows of classes.json of the data set stage, beside it or in `data`.

    Raises:
        InputError: it is not such a table, or there is no classes.json that lists names.
    """
    own = path.resolve().parent.parent / "dataset" / "classes.json"
    file = next((place for place in (own, data / "classes.json") if place.is_file()), None)
    if file is None:
        raise InputError(f"{path}: its labels are those of {own}, which is not there; give detections.json of a bundle")
    classes = read_stage_classes(file)
    columns = read_columns(path, DETECTIONS)
    found = Found("detections of a stage")
    rows = zip(
        columns["image_id"].tolist(),
        columns["label"].tolist(),
        columns["score"].tolist(),
        boxes_of(columns).tolist(),
        strict=True,
    )
    for number, (image, label, score, box) in enumerate(rows):
        if not 1 <= label < len(classes):
            raise InputError(f"{path}: row {number} has label {label}, and {file} {len(classes)} classes; run it again")
        found.add(f"{path}: row {number}", image, classes[label], score, box)
    return found
