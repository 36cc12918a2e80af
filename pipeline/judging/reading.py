"""Recognises the form of a file of detections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.artifacts.dataset_tables import DATASET_IMAGES
from pipeline.artifacts.tables import read_columns
from pipeline.datasets.tools.annotated import load_json
from pipeline.judging.coco_file import Names, names_in, read_coco_detections
from pipeline.judging.found import Found
from pipeline.judging.stage_table import read_stage_detections
from pipeline.judging.voc_files import read_voc_detections
from pipeline.params.dataset import DatasetParams
from pipeline.runtime.errors import InputError


def read_detections(path: Path, data: Path, params: DatasetParams, split: str, classes: Sequence[str]) -> Found:
    """Read detections in COCO's forms (.json), VOC's (.txt or a folder of them) or a stage's (.parquet).

    Args:
        data: the data set that they are of. params: how it is read. classes: its, without the background.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    if not path.exists():
        raise InputError(f"--detections {path}: no such file; give COCO results, VOC's texts or detections.parquet")
    if path.suffix == ".json":
        return read_coco_detections(path, lambda: _names_of(path, data, params, split, classes))
    if path.suffix == ".parquet":
        return read_stage_detections(path, data)
    if path.suffix == ".txt" or path.is_dir():
        return read_voc_detections(path, classes)
    raise InputError(
        f"--detections {path}: is not a .json, .txt or .parquet file; give COCO results, VOC's texts or "
        "detections.parquet"
    )


def _names_of(path: Path, data: Path, params: DatasetParams, split: str, classes: Sequence[str]) -> Names:
    """What the ids of a list of results mean: those of the annotations of the split, or of a stage's data set."""
    if (data / "images.parquet").is_file():
        # A detect stage counts the images of val and test in order of their ids, from 1.
        columns = read_columns(data / "images.parquet", DATASET_IMAGES)
        pairs = zip(columns["image_id"].tolist(), columns["split"].tolist(), strict=True)
        ids = sorted(image for image, own in pairs if own in ("val", "test"))
        return dict(enumerate(ids, start=1)), dict(enumerate(classes, start=1))
    files = getattr(params.coco, split) if params.reader == "coco" else []
    if not files:
        raise InputError(
            f"{path}: is a list of COCO results, whose ids need COCO annotations; give --set dataset.reader=coco "
            f"--set dataset.coco.{split}=[FILE.json], or detections that name their images"
        )
    images: dict[int | str, str] = {}
    categories: dict[int | str, str] = {}
    for name in files:
        content = load_json(data / name)
        if not isinstance(content, dict):
            raise InputError(f"{data / name}: is not a COCO data set; name another in dataset.coco.{split}")
        own_images, own_categories = names_in(content, data / name)
        if own_images.keys() & images.keys():
            raise InputError(f"{path}: its ids are of several annotation files; judge each split file by itself")
        images.update(own_images)
        categories.update(own_categories)
    return images, categories
