"""COCO: one instances JSON a split, its images in a folder.

Of an annotation the keys image_id, category_id, bbox [x, y, width, height] and iscrowd are read; segmentations are not.
While the file is parsed each annotation becomes a row of numbers, so that memory holds the file's text and a table, not
a dict an annotation.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.datasets.base import Split
from pipeline.datasets.class_names import BACKGROUND, clean_name
from pipeline.datasets.coco_ids import Id, id_of, meant_by
from pipeline.datasets.faults import Faults
from pipeline.datasets.records import XYWH, RawData, RawRecord, below_root, check_root, is_file, no_flags, one_line
from pipeline.runtime.errors import InputError

_AN_ID = "a whole number or a text"
_LARGEST = 1 << 30  # bytes of a JSON file; COCO's own largest has 0.45 GB


class _Row(int):
    """The row of an annotation in the table, in its place in the JSON."""

    __slots__ = ()


class _Image(NamedTuple):
    id: Any
    file_name: Any
    width: Any
    height: Any


@dataclass
class _Table:
    """The annotations of a file, as they are parsed."""

    images: list[Any] = field(default_factory=list)  # ids, one object for equal ones
    categories: list[Any] = field(default_factory=list)
    boxes: array[float] = field(default_factory=lambda: array("d"))
    crowd: bytearray = field(default_factory=bytearray)
    non_numeric: dict[int, str] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    _known: dict[Any, Any] = field(default_factory=dict)

    def take(self, item: dict[str, Any]) -> Any:
        """An object of the JSON: images and annotations shrink, others pass."""
        if "bbox" in item or "category_id" in item:
            return self._take_annotation(item)
        if "file_name" in item:
            return _Image(item.get("id"), item["file_name"], item.get("width"), item.get("height"))
        return item

    def _take_annotation(self, item: dict[str, Any]) -> _Row:
        row = len(self.images)
        box = item.get("bbox")
        if not isinstance(box, list) or len(box) != 4:
            self.faults.setdefault(row, _fault_text(item, "bbox", "a list of 4 numbers"))
            box = [0.0] * 4
        for name, value in zip(XYWH.names, box, strict=True):
            if not _is_number(value):
                self.non_numeric.setdefault(row, f"{name} of the bbox is {str(value)[:40]!r}, not a number")
                self.boxes.append(float("nan"))
            else:
                self.boxes.append(_float(value))
        crowd = item.get("iscrowd")
        if crowd is None or crowd != crowd:  # null, NaN and no word of it are 0, as pandas and most tools write it
            crowd = 0
        if crowd not in (0, 1, "0", "1"):
            self.faults.setdefault(row, _fault_text(item, "iscrowd", "0 or 1"))
        self.crowd.append(crowd in (1, "1"))
        for column, key in ((self.images, "image_id"), (self.categories, "category_id")):
            value = id_of(item.get(key))
            if value is None:
                self.faults.setdefault(row, _fault_text(item, key, _AN_ID))
            column.append(self._known.setdefault(value, value))
        return _Row(row)


@dataclass(frozen=True)
class _File:
    """One parsed JSON: `rows` (N,) sorted by image, of which `spans` gives an image's."""

    path: str
    split: Split
    folder: str
    images: list[_Image]
    names: dict[Id, str]
    table: _Table
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
        images: folder below the root of a file's images; {name} stands for the name of the JSON without "instances_"
            and ".json", {folder} for the folder that it lies in.
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
    listed = ((_path(file, image), file.split) for file in files for image in file.images)
    return RawData(root, "dataset.coco", XYWH, classes, _records(files), named_in, images=listed)


def _classes_of(file: _File) -> set[Id]:
    """Its categories, but not one called background that has no annotation, which some tools put first."""
    used = set(file.table.categories)
    return {key for key, name in file.names.items() if key in used or clean_name(name).casefold() != BACKGROUND}


def _records(files: Sequence[_File]) -> Iterator[RawRecord]:
    places = [
        (_path(file, image), number, image)
        for number, file in enumerate(files)
        for image in [*file.images, *(_orphans(file) if file.whole else ())]
    ]
    for path, number, image in sorted(
        ((path, number, image) for path, number, image in places), key=lambda place: (_image_id(place[0]), place[1])
    ):
        yield _record(files[number], image, path)


def _path(file: _File, image: _Image) -> str:
    return f"{file.folder}/{image.file_name}".removeprefix("/")


def _image_id(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/{name.rpartition('.')[0] or name}".removeprefix("/").replace("/", "_")


def _orphans(file: _File) -> list[_Image]:
    """What annotations call an image but the file does not list: images whose files cannot be there."""
    known = {image.id for image in file.images}
    return [_Image(key, f"image id {key} of {Path(file.path).name}", 1, 1) for key in file.spans if key not in known]


def _record(file: _File, image: _Image, path: str) -> RawRecord:
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
        size=None if image.width is None or image.height is None else (_float(image.width), _float(image.height)),
        non_numeric={
            index: f"annotations[{row}]: {table.non_numeric[row]}"
            for index, row in enumerate(rows.tolist())
            if row in table.non_numeric
        },
        listed_in=f"images of {file.path}",
    )


def _read_file(root: Path, name: str, split: Split, images: str, faults: Faults) -> _File:
    name = below_root(name, f"dataset.coco.{split}")
    path = root / name
    table = _Table()
    content = _parse(path, table)
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
        if isinstance(row, _Row) and row not in table.faults and row == index - others:
            sound[row] = True
            continue
        with faults.going_on():
            where = f"{path}: annotations[{index}]"
            if not isinstance(row, _Row):
                others += 1
                raise InputError(f"{where} has no bbox; write one, [x, y, width, height]")
            if row in table.faults:
                raise InputError(f"{where}{table.faults[row]}; correct it")
            others = index - row
            raise InputError(f"{where}: annotations stand elsewhere in the file too; move them into this list")
    listed = _listed(lists["images"], path, faults)
    names = _categories(lists["categories"], path, faults)
    table.images = _as_listed(table.images, (image.id for image in listed))
    table.categories = _as_listed(table.categories, names)
    folder = images.format(name=Path(name).stem.removeprefix("instances_"), folder=str(Path(name).parent))
    folder = "" if folder == "." else below_root(folder, f"dataset.coco.images ({images!r} for {name})")
    order, spans = _by_image(table, sound)
    whole = len(listed) == len(lists["images"])
    return _File(name, split, folder, listed, names, table, order, spans, whole)


def _by_image(table: _Table, sound: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], dict[Id, slice]]:
    rows = np.flatnonzero(sound)
    codes: dict[Id, int] = {}
    code = np.array([codes.setdefault(table.images[row], len(codes)) for row in rows], np.int64)
    order = np.argsort(code, kind="stable")
    ends = np.searchsorted(code[order], np.arange(len(codes) + 1)).tolist()
    order = rows[order]
    return order, {key: slice(ends[index], ends[index + 1]) for key, index in codes.items()}


def _parse(path: Path, table: _Table) -> dict[str, Any]:
    if not is_file(path):
        raise InputError(f"{path}: no such annotation file; correct dataset.coco")
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path}: is larger than {_LARGEST >> 20} MiB; split it, or leave out the segmentations")
    try:
        with path.open(encoding="utf-8-sig") as file:
            content = json.load(file, object_hook=table.take)
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deeply to be an instances file; replace it") from error
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not valid JSON ({one_line(error)}); mend or replace the file") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object; give an instances file as COCO writes it")
    return content


def _as_listed(used: list[Any], listed: Iterable[Id]) -> list[Any]:
    meant = meant_by((key for key in dict.fromkeys(used) if key is not None), listed)
    return [meant.get(key, key) for key in used] if meant else used


def _listed(items: list[Any], path: Path, faults: Faults) -> list[_Image]:
    images: dict[Id, _Image] = {}
    listed = []
    for index, item in enumerate(items):
        with faults.going_on():
            where = f"{path}: images[{index}]"
            image = _checked(item, where)
            first = images.setdefault(image.id, image)
            if first.file_name != image.file_name:
                raise InputError(
                    f"{where}.id is {item.id!r} again, that of {first.file_name} too; give each image an id of its own"
                )
            listed.append(image)
    return listed


def _checked(item: Any, where: str) -> _Image:
    if not isinstance(item, _Image):
        raise InputError(f"{where} has no file_name; write the name of its image")
    key = id_of(item.id)
    if key is None:
        raise InputError(f"{where}{_fault_text({'id': item.id}, 'id', _AN_ID)}; correct it")
    for side in ("width", "height"):
        value = getattr(item, side)
        if value is not None and not _is_number(value):
            raise InputError(f"{where}{_fault_text({side: value}, side, 'a number')}; correct it")
    return item._replace(id=key, file_name=below_root(item.file_name, f"{where}.file_name"))


def _categories(items: list[Any], path: Path, faults: Faults) -> dict[Id, str]:
    names: dict[Id, str] = {}
    for index, item in enumerate(items):
        where = f"{path}: categories[{index}]"
        with faults.going_on():
            if not isinstance(item, dict):
                raise InputError(f"{where} is no object with id and name; correct it")
            key, name = id_of(item.get("id")), item.get("name")
            if key is None:
                raise InputError(f"{where}{_fault_text(item, 'id', _AN_ID)}; correct it")
            if isinstance(name, int) and not isinstance(name, bool):
                name = str(name)
            if not isinstance(name, str) or not name.strip():
                raise InputError(f"{where}{_fault_text(item, 'name', 'a text')}; correct it")
            if key in names:
                raise InputError(
                    f"{where}.id is {item['id']!r} again, that of {names[key][:60]!r} too; "
                    "give each category an id of its own"
                )
            names[key] = name
    return names


def _fault_text(item: Mapping[str, Any], key: str, expected: str) -> str:
    value = item.get(key)
    return f".{key} is {'missing' if value is None else repr(value)[:40]}, expected {expected}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number beyond what a float holds
        return float("inf")
