"""Pascal VOC: an XML file an image, in the folders of a VOC tree or as annotation tools lay them out.

VOC writes boxes as 1-based inclusive pixels; (xmin - 1, ymin - 1, xmax, ymax) are the same box's continuous corners,
and their IoU equals that of the devkit. A box whose written corners coincide in x or y counts as zero area: nobody
labels a line of one pixel on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from pipeline.datasets.base import Split
from pipeline.datasets.class_names import distinct_names
from pipeline.datasets.faults import Faults
from pipeline.datasets.file_names import junk_remark
from pipeline.datasets.records import (
    INCLUSIVE,
    Change,
    RawData,
    RawRecord,
    check_root,
    detections,
    is_file,
    no_flags,
    to_float,
)
from pipeline.datasets.voc_lists import LAYOUT, Entry, VocLists
from pipeline.datasets.voc_xml import Parsed, parse_xml, size_of, text_of
from pipeline.runtime.errors import InputError


def read_voc(
    root: Path,
    splits: Mapping[Split, Sequence[str]],
    classes: Sequence[str] | None,
    faults: Faults | None = None,
    annotations: str = "Annotations",
    images: str = "JPEGImages",
    lists: str = "ImageSets/Main",
) -> RawData:
    """Read the splits of the VOC tree at `root`.

    Args:
        root: the data root.
        splits: names of files in ImageSets/Main, such as "trainval", or "VOC2007/trainval" for that of the sub-tree
            VOC2007, whose image ids then begin with "VOC2007_"; or folders, "train/", "./" for the root: all XML files
            and images in it.
        classes: names of the classes; None takes all in the listed annotations, sorted.
        faults: whether to continue after faulty lists and annotations.
        annotations: folder of the XML files, see `VocLists`.
        images: folder of the images, likewise; any suffix of an image will do.
        lists: folder of the lists, likewise.

    Raises:
        InputError: a list or an annotation is missing, malformed or incomplete.
    """
    root = check_root(root, LAYOUT)
    faults = faults or Faults()
    own = VocLists(root, annotations, images, lists, faults)
    entries = own.entries(splits)
    named_in = None if classes is None else "dataset.voc.classes"
    if classes is None:
        classes = _collect_classes(root, entries, faults)
    records = _read_all(root, entries, faults)
    listed = ((entry.file, entry.split) for entry in entries)
    return RawData(root, "dataset.voc", INCLUSIVE, classes, records, named_in, junk_remark(own.junk), listed)


def _collect_classes(root: Path, entries: Sequence[Entry], faults: Faults) -> list[str]:
    names: set[str] = set()
    for entry in entries:
        where = root / entry.annotation
        with faults.going_on():
            for item in parse_xml(where).root.findall("object") if is_file(where) else ():
                with faults.going_on():
                    names.add(text_of(item, "name", where))
    return sorted(distinct_names(names))


def _read_all(root: Path, entries: Sequence[Entry], faults: Faults) -> Iterator[RawRecord]:
    for entry in entries:
        with faults.going_on():
            yield _read_image(root, entry)


def _read_image(root: Path, entry: Entry) -> RawRecord:
    where = root / entry.annotation
    annotated = is_file(where)
    tree, encoding = parse_xml(where) if annotated else Parsed(Element("annotation"), "")
    items = tree.findall("object")
    size = size_of(tree, where) if annotated else None
    if not items and size is None and tree.tag != "annotation":
        raise InputError(f"{where}: is a <{tree.tag[:40]}>, not VOC's <annotation>; replace it")
    written = np.full((len(items), 4), np.nan)
    difficult, non_numeric, untagged = no_flags(len(items)), {}, 0
    for index, item in enumerate(items):
        tags = [f"bndbox/{side}" for side in INCLUSIVE.names]
        tags += ["difficult"] if (item.findtext("difficult") or "").strip() else []
        untagged += len(tags) == 4
        for column, tag in enumerate(tags):
            text = text_of(item, tag, where)
            number = to_float(text)
            if number is None:
                non_numeric[index] = f"{tag} of object {index} is {text[:40]!r}, not a number"
                break
            if column < 4:
                written[index, column] = number
            else:
                difficult[index] = number != 0
    return RawRecord(
        image_id=entry.image_id,
        split=entry.split,
        file=entry.file,
        annotation=entry.annotation,
        names=[text_of(item, "name", where) for item in items],
        written=written,
        difficult=difficult,
        iscrowd=no_flags(len(items)),
        ignore=no_flags(len(items)),
        objects=np.arange(len(items)),
        size=size,
        non_numeric=non_numeric,
        untagged=untagged,
        annotated=annotated,
        listed_in=entry.listed_in,
        changes=[*entry.changes, *(_changes(items, size, encoding) if annotated else ())],
    )


def _changes(items: Sequence[Element], size: tuple[float, float] | None, encoding: str) -> Iterator[Change]:
    if encoding:
        yield Change("encoding", f"the file {encoding}", "read as such", "save it as UTF-8")
    if size is None:
        yield Change("missing_size", "no size of the image", "the image's own size taken", "write it in <size>")
    scores = (to_float(item.findtext("score") or item.findtext("confidence") or "1") for item in items)
    count = sum(score not in (1, None) for score in scores)
    if count:
        yield detections(count, len(items), "object")
