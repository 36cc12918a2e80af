"""The layout that a data root has, or one line that says what is there and what to do."""

from __future__ import annotations

import itertools
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline.data_layouts.coco import coco_layouts
from pipeline.data_layouts.folders import folders_below
from pipeline.data_layouts.kitti import kitti_layouts
from pipeline.data_layouts.layout import Layout, Miss
from pipeline.data_layouts.table import table_layouts
from pipeline.data_layouts.tools import TOOL_LAYOUTS
from pipeline.data_layouts.voc import voc_layouts
from pipeline.data_layouts.yolo import yolo_layouts
from pipeline.datasets.base import SPLITS, Split
from pipeline.datasets.faults import Faults
from pipeline.datasets.file_names import printable
from pipeline.datasets.image_suffixes import is_image_name
from pipeline.datasets.reading import read_raw
from pipeline.params.dataset import DatasetParams
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text

_LAYOUTS: dict[str, Callable[[Path], Iterator[Layout | Miss]]] = {
    "voc": voc_layouts,
    "coco": coco_layouts,
    "kitti": kitti_layouts,
    "yolo": yolo_layouts,
    "table": table_layouts,
    **TOOL_LAYOUTS,
}
READERS = tuple(_LAYOUTS)
_MOST_COUNTED = 10_000  # names
_LARGE = 1 << 26  # bytes of JSON files
DIVIDE = "add 'dataset.split={val: .1, test: .2}'"
"""How `frcnn preset` is made to divide data without splits."""


def layouts_of(
    root: Path, defaults: DatasetParams, reader: str | None = None, given: Mapping[str, Any] = MappingProxyType({})
) -> list[Layout]:
    """The first layout of each reader by which labelled images are found in the root; of one reader, where it is named.

    Args:
        root: the data root.
        defaults: what a layout's settings leave as it is.
        reader: the one to look for; None: all.
        given: settings that the user gives, `dataset.coco.images` and so on, by their keys.
    """
    readers = READERS if reader is None else (reader,)
    found = (_first(root, defaults, _layouts(name, root, given)) for name in readers)
    return [layout for layout in found if layout is not None]


def recognise(
    root: Path,
    defaults: DatasetParams,
    divides: bool = False,
    given: Mapping[str, Any] = MappingProxyType({}),
    how: str = DIVIDE,
) -> Layout:
    """The one layout that the root has.

    Args:
        root: the data root.
        defaults: what a layout's settings leave as it is.
        divides: whether images are divided into splits by `dataset.split`, so that the data need none.
        given: as for `layouts_of`.
        how: what to add to the command to divide the images.

    Raises:
        InputError: there is none, several readers fit, or there is nothing to test on.
    """
    found = layouts_of(root, defaults, given=given)
    found = [layout for layout in found if not layout.is_below] or found
    found = [layout for layout in found if layout.is_divided] or found
    if len(found) > 1:
        readers = " or ".join(f"dataset.reader={layout.reader}" for layout in found)
        what = "; ".join(f"{layout.reader} ({layout.what})" for layout in found)
        raise InputError(f"{root}: several readers fit: {what}; choose one: {readers}")
    if not found:
        raise InputError(printable(f"{root}: {_nothing(root, defaults, given)}"))
    if not found[0].is_divided and not divides:
        raise InputError(f"{root}: {found[0].what} has nothing to test on; {divide_it(found[0].reader, how)}")
    return found[0]


def divide_it(reader: str, how: str = DIVIDE) -> str:
    """What to do about data without splits; `how` to divide them."""
    return f"{how}, or name its parts in dataset.{reader}.train and dataset.{reader}.test"


def is_read(root: Path, params: DatasetParams, splits: Sequence[Split] = SPLITS) -> bool:
    """Whether the reader finds a labelled image in the root of each of the splits for which it is given something.

    It does not where none is given anything. Of large COCO files it is seen alone whether they are there.
    """
    splits = [split for split in splits if getattr(getattr(params, params.reader), split)]
    if not splits:
        return False
    if params.reader == "coco":
        files = [root / name for split in splits for name in getattr(params.coco, split)]
        if not all(map(os.path.isfile, files)) or sum(map(os.path.getsize, files)) > _LARGE:
            return all(map(os.path.isfile, files))
    return all(_has_label(root, params, split) for split in splits)


def _layouts(reader: str, root: Path, given: Mapping[str, Any]) -> Iterator[Layout | Miss]:
    """A reader's layouts that the root may have; COCO's and VOC's by what is given of them."""
    prefix = f"dataset.{reader}."
    own = {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}
    if reader == "coco":  # whose files may have any names
        return coco_layouts(root, own)
    return voc_layouts(root, own) if reader == "voc" else _LAYOUTS[reader](root)


def _first(root: Path, defaults: DatasetParams, layouts: Iterator[Layout | Miss]) -> Layout | None:
    """The first whose splits to train and to test on have labelled images; else the first whose train has."""
    trained: Layout | None = None
    for layout in layouts:
        for own in (layout, _without_test(layout)) if isinstance(layout, Layout) else ():
            if own is None:
                continue
            if own.is_divided and (own.labelled or is_read(root, own.params(defaults), ("train", "test"))):
                return own
            if trained is None and (own.labelled or is_read(root, own.params(defaults), ("train",))):
                trained = own
    return trained


def _without_test(layout: Layout) -> Layout | None:
    """The layout without a test split, whose images may lack labels; None where it has no val in its place."""
    kept: dict[Split, Sequence[str]] = {split: own for split, own in layout.splits.items() if split != "test"}
    test = ", ".join(layout.splits.get("test", ())[:2])
    what = f"{layout.what}; its test ({test}) has no labelled image and is left out"
    return replace(layout, splits=kept, what=what) if "val" in kept and "test" in layout.splits else None


def _has_label(root: Path, params: DatasetParams, split: Split) -> bool:
    return _why_no_label(root, params, split) is None


def _why_no_label(root: Path, params: DatasetParams, split: Split) -> str | None:
    """Why the reader finds no image of a split that is there and has a label; None where it finds one."""
    own = getattr(params, params.reader)
    places = getattr(own, split)
    update: dict[str, list[str]] = {**{other: [] for other in SPLITS}, "train": places}  # one split at a time
    if hasattr(own, "classes"):  # to be spared the collecting of their names
        update["classes"] = ["object"]
    faults = Faults(keep=True)
    lost = ""
    with faults.going_on():
        alone = params.model_copy(update={params.reader: own.model_copy(update=update)})
        for record in read_raw(root, alone, faults).records:
            if len(record.names) and os.path.isfile(root / record.file):
                return None
            if not lost and not record.annotated:
                lost = f"{root / record.annotation}: no such annotation"
            elif not lost and len(record.names):
                lost = f"{root / record.file}: no such image"
    return next(iter(faults.lines), lost or "no image in it has a label")


def _nothing(root: Path, defaults: DatasetParams, given: Mapping[str, Any]) -> str:
    """What is there instead of a layout that is known, and what to do."""
    found = [layout for name in READERS for layout in _layouts(name, root, given)]
    tool = next((own for own in found if isinstance(own, Layout) and own.reader in TOOL_LAYOUTS), None)
    if tool is not None and (why := _why_no_label(root, tool.params(defaults), "train")) is not None:
        return f"would be {tool.what}, but {why.removeprefix(f'{root}/')}"
    misses = list(dict.fromkeys(layout.why for layout in found if isinstance(layout, Miss)))
    if misses:
        return f"no reader fits: {'; '.join(misses[:2])}"
    for folder in itertools.islice(folders_below(root), 1, None):
        inside = layouts_of(folder, defaults)
        if inside:
            return f"no reader fits, but {folder} is {inside[0].what}: give dataset.root={shlex.quote(str(folder))}"
    for layout in found:
        if isinstance(layout, Layout):
            why = _why_no_label(root, layout.params(defaults), "train") or "its test split has no label"
            return f"would be {layout.what}, but {why.removeprefix(f'{root}/')}"
    return f"no reader fits what is there ({_counts(root)}); docs/data.md shows the layouts that are read"


def _counts(root: Path) -> str:
    """Files below a folder by their suffixes."""
    names = (name for _, _, own in os.walk(root) for name in own if not name.startswith("."))
    kinds = Counter(
        "image" if is_image_name(name) else f"{os.path.splitext(name)[1] or 'other'} file"
        for name in itertools.islice(names, _MOST_COUNTED)
    )
    return ", ".join(count_text(count, kind) for kind, count in kinds.most_common(4)) or "no file"
