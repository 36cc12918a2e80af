"""COCO: one instances JSON a split, its images in a folder.

Of an annotation the keys image_id, category_id, bbox [x, y, width, height] and iscrowd are read, and where there is no
bbox the segmentation. An image that has no file_name is named by its coco_url, as in LVIS.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.datasets.base import Split
from pipeline.datasets.class_names import BACKGROUND, clean_name
from pipeline.datasets.coco_ids import Id, id_of, meant_by
from pipeline.datasets.coco_table import AN_ID, Image, Row, Table, fault_text, is_number, parse_instances, to_double
from pipeline.datasets.faults import Faults
from pipeline.datasets.records import (
    XYWH,
    Change,
    RawData,
    RawRecord,
    below_root,
    check_root,
    detections,
    no_flags,
)
from pipeline.datasets.split_names import split_word
from pipeline.datasets.written_names import WrittenNames
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text


@dataclass(frozen=True)
class _File:
    """One parsed JSON: `rows` (N,) sorted by image; `spans` gives the rows of an image."""

    path: str
    split: Split
    folder: str
    images: list[Image]
    names: dict[Id, str]
    table: Table
    rows: npt.NDArray[np.int64]
    spans: dict[Id, slice]
    whole: bool  # whether no image of its list was at fault


def read_coco(
    root: Path,
    splits: Mapping[Split, Sequence[str]],
    images: str,
    classes: Sequence[str] | None,
    faults: Faults | None = None,
) -> RawData:
    """Read instances files and find their images.

    Args:
        root: the data root.
        splits: paths below the root of each split's JSON files.
        images: folder below the root of a file's images; see `image_folder`.
        classes: names of the classes; None takes all categories of all files, by ascending id.
        faults: whether to continue after faulty files, images, annotations and categories.

    An image's id is its path below the root without suffix, "_" for "/", because numbers repeat from file to file.

    Raises:
        InputError: a file is missing, too large or no JSON, or a key is missing or of a wrong type.
    """
    root = check_root(root, "COCO's annotations and images")
    faults = faults or Faults()
    files = []
    for split, name in ((split, name) for split, names in splits.items() for name in names):
        with faults.going_on():
            files.append(_read_file(root, name, split, images, faults))
    named_in: str | None = "dataset.coco.classes"
    if classes is None:
        named_in = None
        ids = {key for file in files for key in _classes_of(file)}
        ordered = sorted(ids, key=lambda key: (isinstance(key, str), key))
        classes = list(dict.fromkeys(file.names[key] for key in ordered for file in files if key in file.names))
    listed = ((image.path, file.split) for file in files for image in file.images)
    tables = ((file.path, file.table) for file in files)
    changes = [(path, detections(own.scores, len(own.images), "annotation")) for path, own in tables if own.scores]
    return RawData(root, "dataset.coco", XYWH, classes, _records(files), named_in, _by_url(files), listed, changes)


def image_folder(images: str, name: str) -> str:
    """The folder of the images of an instances file, "." for the data root.

    Args:
        images: it, where {name} stands for the file's name without "instances_" and ".json", {folder} for the folder
            that the file lies in, {above} for the folder that holds that one, {split} for the word of the file's name
            that means a split, as val of val_boxes.json.
        name: path of the file below the root.
    """
    path = Path(name)
    return images.format(
        name=path.stem.removeprefix("instances_"),
        folder=str(path.parent),
        above=str(path.parent.parent),
        split=split_word(path.stem) or path.stem,
    )


def _by_url(files: Sequence[_File]) -> list[str]:
    count = sum(image.by_url for file in files for image in file.images)
    return [f"took the names of {count_text(count, 'image')} from coco_url, as there is no file_name"] if count else []


def _classes_of(file: _File) -> set[Id]:
    """Its categories, but not one called background that has no annotation, which some tools put first."""
    used = set(file.table.categories)
    return {key for key, name in file.names.items() if key in used or clean_name(name).casefold() != BACKGROUND}


def _records(files: Sequence[_File]) -> Iterator[RawRecord]:
    places = [
        (image.path, number, image)
        for number, file in enumerate(files)
        for image in [*file.images, *(_orphans(file) if file.whole else ())]
    ]
    for path, number, image in sorted(
        ((path, number, image) for path, number, image in places), key=lambda place: (_image_id(place[0]), place[1])
    ):
        yield _record(files[number], image, path)


def _image_id(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/{name.rpartition('.')[0] or name}".removeprefix("/").replace("/", "_")


def _orphans(file: _File) -> list[Image]:
    """What annotations call an image but the file does not list: images whose files cannot be there."""
    known = {image.id for image in file.images}
    orphans = ((key, f"image id {key} of {Path(file.path).name}") for key in file.spans if key not in known)
    return [Image(key, name, 1, 1, path=f"{file.folder}/{name}".removeprefix("/")) for key, name in orphans]


def _record(file: _File, image: Image, path: str) -> RawRecord:
    rows = file.rows[file.spans.get(image.id, slice(0, 0))]
    table = file.table
    return RawRecord(
        image_id=_image_id(path),
        split=file.split,
        file=path,
        annotation=file.path,
        names=[file.names.get(table.categories[row], f"id {table.categories[row]}") for row in rows],
        written=np.frombuffer(table.boxes, np.float64).reshape(-1, 4)[rows],
        difficult=no_flags(len(rows)),
        iscrowd=np.frombuffer(table.crowd, np.uint8)[rows] != 0,
        ignore=no_flags(len(rows)),
        objects=rows,
        size=None if image.width is None or image.height is None else (to_double(image.width), to_double(image.height)),
        non_numeric={
            index: f"annotations[{row}]: {table.non_numeric[row]}"
            for index, row in enumerate(rows.tolist())
            if row in table.non_numeric
        },
        listed_in=f"images of {file.path}",
        changes=[*image.changes, *_boxes_made(table, rows)],
    )


def _boxes_made(table: Table, rows: npt.NDArray[np.int64]) -> Iterator[Change]:
    if table.outlined:
        for index, row in enumerate(rows.tolist()):
            if row in table.outlined:
                yield Change(
                    "no_box", "no bbox, but a segmentation", "the box around its segmentation taken", row=index
                )


def _read_file(root: Path, name: str, split: Split, images: str, faults: Faults) -> _File:
    name = below_root(name, f"dataset.coco.{split}")
    path = root / name
    table = Table()
    content = parse_instances(path, table)
    lists: dict[str, list[Any]] = {}
    for key in ("images", "annotations", "categories"):
        value = content.get(key)
        if not isinstance(value, list):
            raise InputError(f"{path}: has no list {key!r}; give an instances file as COCO writes it")
        lists[key] = value
    # Rows are numbered as they were parsed: where all are annotations, in the order of the list.
    sound = np.zeros(len(table.images), np.bool_)
    others = 0
    for index, row in enumerate(lists["annotations"]):
        if isinstance(row, Row) and row not in table.faults and row == index - others:
            sound[row] = True
            continue
        with faults.going_on():
            where = f"{path}: annotations[{index}]"
            if not isinstance(row, Row):
                others += 1
                raise InputError(f"{where} has no bbox; write one, [x, y, width, height]")
            if row in table.faults:
                raise InputError(f"{where}{table.faults[row]}; correct it")
            others = index - row
            raise InputError(f"{where}: annotations occur elsewhere in the file too; move them into this list")
    folder = image_folder(images, name)
    folder = "" if folder == "." else below_root(folder, f"dataset.coco.images ({images!r} for {name})")
    listed = _listed(lists["images"], path, faults, root, folder)
    names = _categories(lists["categories"], path, faults)
    table.images = _as_listed(table.images, (image.id for image in listed))
    table.categories = _as_listed(table.categories, names)
    _check_masks(table, listed, sound, path, faults)
    order, spans = _by_image(table, sound)
    whole = len(listed) == len(lists["images"])
    return _File(name, split, folder, listed, names, table, order, spans, whole)


def _by_image(table: Table, sound: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], dict[Id, slice]]:
    rows = np.flatnonzero(sound)
    codes: dict[Id, int] = {}
    code = np.array([codes.setdefault(table.images[row], len(codes)) for row in rows], np.int64)
    order = np.argsort(code, kind="stable")
    ends = np.searchsorted(code[order], np.arange(len(codes) + 1)).tolist()
    order = rows[order]
    return order, {key: slice(ends[index], ends[index + 1]) for key, index in codes.items()}


def _as_listed(used: list[Any], listed: Iterable[Id]) -> list[Any]:
    meant = meant_by((key for key in dict.fromkeys(used) if key is not None), listed)
    return [meant.get(key, key) for key in used] if meant else used


def _check_masks(table: Table, listed: list[Image], sound: npt.NDArray[np.bool_], path: Path, faults: Faults) -> None:
    """See that masks that boxes were made of are of their images' sizes; others are no longer `sound`."""
    if not any(table.outlined.values()):
        return
    sizes = {image.id: (image.width, image.height) for image in listed}
    for row, size in table.outlined.items():
        own = sizes.get(table.images[row], (None, None))
        if size is not None and sound[row] and None not in own and own != size:
            sound[row] = False
            with faults.going_on():
                raise InputError(
                    f"{path}: annotations[{row}] has no bbox, and its mask is of {size[0]} x {size[1]} px, its image "
                    f"of {own[0]} x {own[1]}; correct it"
                )


def _listed(items: list[Any], path: Path, faults: Faults, root: Path, folder: str) -> list[Image]:
    images: dict[Id, Image] = {}
    listed = []
    names = WrittenNames(root, (item.file_name for item in items if isinstance(item, Image)))
    has_folder = os.path.isdir(root / folder)
    for index, item in enumerate(items):
        with faults.going_on():
            where = f"{path}: images[{index}]"
            image = _checked(item, where)
            if image.by_url:
                own = folder if has_folder else ""
                own = own.rpartition("/")[0] if own.rpartition("/")[2] == image.file_name.partition("/")[0] else own
                image = image._replace(path=names.find(image.file_name, f"{where}.coco_url", own).path)
            else:
                found = names.find(image.file_name, f"{where}.file_name", folder)
                image = image._replace(path=found.path, changes=found.changes(image.file_name))
            first = images.setdefault(image.id, image)
            if first.file_name != image.file_name:
                raise InputError(
                    f"{where}.id is {item.id!r}, which {first.file_name} has too; give each image its own id"
                )
            listed.append(image)
    return listed


def _checked(item: Any, where: str) -> Image:
    if not isinstance(item, Image):
        raise InputError(f"{where} has no file_name or coco_url; write the name of its image")
    key = id_of(item.id)
    if key is None:
        raise InputError(f"{where}{fault_text({'id': item.id}, 'id', AN_ID)}; correct it")
    for side in ("width", "height"):
        value = getattr(item, side)
        if value is not None and not is_number(value):
            raise InputError(f"{where}{fault_text({side: value}, side, 'a number')}; correct it")
    return item._replace(id=key)


def _categories(items: list[Any], path: Path, faults: Faults) -> dict[Id, str]:
    names: dict[Id, str] = {}
    for index, item in enumerate(items):
        where = f"{path}: categories[{index}]"
        with faults.going_on():
            if not isinstance(item, dict):
                raise InputError(f"{where} is not an object with id and name; correct it")
            key, name = id_of(item.get("id")), item.get("name")
            if key is None:
                raise InputError(f"{where}{fault_text(item, 'id', AN_ID)}; correct it")
            if isinstance(name, int) and not isinstance(name, bool):
                name = str(name)
            if not isinstance(name, str) or not name.strip():
                raise InputError(f"{where}{fault_text(item, 'name', 'a text')}; correct it")
            if key in names:
                raise InputError(
                    f"{where}.id is {item['id']!r}, which {names[key][:60]!r} has too; give each category its own id"
                )
            names[key] = name
    return names
