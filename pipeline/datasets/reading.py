"""The data set that params.yaml names, read by the reader of its format and checked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.datasets.base import SPLITS, Dataset, Split
from pipeline.datasets.coco import read_coco
from pipeline.datasets.faults import Faults
from pipeline.datasets.images import image_size, problems_of
from pipeline.datasets.kitti import read_kitti
from pipeline.datasets.records import RawData
from pipeline.datasets.splitting.dividing import Division, TooFewImages, divide, divided, left_out
from pipeline.datasets.splitting.pool import places_to_divide
from pipeline.datasets.table import read_table
from pipeline.datasets.tools.all_tools import TOOLS
from pipeline.datasets.tools.annotated import read_tool
from pipeline.datasets.validation import validate
from pipeline.datasets.voc import read_voc
from pipeline.datasets.yolo import read_yolo
from pipeline.params.dataset import CocoData, DatasetParams, KittiData, TableData, ToolData, VocData, YoloData

AnyData = VocData | CocoData | KittiData | YoloData | TableData | ToolData


def read_dataset(root: Path, params: DatasetParams, faults: Faults | None = None) -> Dataset:
    """The images below `root`, checked one by one as they are iterated; `params.reader` is any but shapes.

    Args:
        root: the data root.
        params: section `dataset`.
        faults: whether to continue after what no policy covers; None: not.

    Raises:
        InputError: nothing can be read there; while iterating, a fault whose policy is error.
    """
    faults = faults or Faults()
    if not params.split.shares:
        return validate(read_raw(root, params, faults), params.findings, image_size, problems_of, faults)
    try:
        division = division_of(root, params, faults)
    except TooFewImages:
        if faults.lines:  # what is at fault may hold the others
            return Dataset((), iter(()))
        raise
    data = divided(read_raw(root, params, faults), division)
    dataset = validate(data, params.findings, image_size, problems_of, faults)
    dataset.division = division.rows
    return dataset


def read_raw(root: Path, params: DatasetParams, faults: Faults) -> RawData:
    """What the reader of `params` finds below `root`, unchecked; what is to be divided is in train.

    Raises:
        InputError: nothing can be read there.
    """
    own: AnyData = getattr(params, params.reader)
    splits: dict[Split, list[str]] = {"train": own.train, "val": own.val, "test": own.test}
    if params.split.shares:
        kept = {split: places for split, places in splits.items() if split not in params.split.shares}
        splits = {**kept, "train": places_to_divide(root, own)}
    return _read(root, params.reader, own, splits, faults)


def division_of(root: Path, params: DatasetParams, faults: Faults) -> Division:
    """How `dataset.split`, which has a share, divides the images that the reader's `train` lists.

    Raises:
        InputError: nothing can be read there, or it cannot be divided.
    """
    data = read_raw(root, params, faults)
    used = {file for file, _ in data.images}
    division = divide(data, params.split)  # which uses up the records
    own: AnyData = getattr(params, params.reader)
    unused = {split: _only_in(root, params.reader, own, split, used) for split in params.split.shares}
    remarks = left_out(unused, params.reader, {split: getattr(own, split) for split in SPLITS})
    return replace(division, remarks=(*division.remarks, *remarks))


def _only_in(root: Path, reader: str, own: AnyData, split: Split, used: set[str]) -> set[str]:
    """The images of a split of the data's own that are not among those in use; none where there is no such split."""
    found: set[str] = set()
    if not getattr(own, split):
        return found
    splits: dict[Split, list[str]] = {**{other: [] for other in SPLITS}, split: getattr(own, split)}
    if hasattr(own, "classes"):  # to be spared the collecting of their names
        own = own.model_copy(update={"classes": ["object"]})
    faults = Faults(keep=True)
    with faults.going_on():
        images = _read(root, reader, own, splits, faults).images
        found = {file for file, _ in images if file not in used and os.path.isfile(root / file)}
    return found


def _read(root: Path, reader: str, own: AnyData, splits: Mapping[Split, Sequence[str]], faults: Faults) -> RawData:
    match own:
        case VocData():
            return read_voc(root, splits, own.classes, faults, own.annotations, own.images, own.lists)
        case CocoData():
            return read_coco(root, splits, own.images, own.classes, faults)
        case KittiData():
            return read_kitti(root, splits, own.folder, own.classes, own.merge, faults)
        case YoloData():
            return read_yolo(root, splits, own.names, faults)
        case TableData():
            replaced = [value for split in SPLITS if split not in splits for value in getattr(own, split)]
            return read_table(root, splits, own.file, own.boxes, own.classes, faults, replaced)
        case ToolData():
            return read_tool(TOOLS[reader], root, splits, own.classes, faults)
