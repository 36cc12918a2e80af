"""A data set divided by `dataset.split`: the images that `train` lists are dealt out to train, val and test.

The division depends on the images' paths and bytes, their classes and `dataset.split` alone, and there is a row of each
image, so that it can be read, kept and compared.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.datasets.base import SPLITS, DividedImage, Split
from pipeline.datasets.class_names import Labels
from pipeline.datasets.records import RawData, RawRecord
from pipeline.datasets.splitting.belonging import (
    REASONS,
    Belonging,
    join_by_name,
    join_equal_bytes,
    join_looking_alike,
)
from pipeline.datasets.splitting.stratifying import Group, stratified
from pipeline.params.dataset import SplitData
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text

_WITHOUT_OBJECTS = ""  # the class of images without objects
_NOTICED = 0.05  # how far a split's share of all images may be off without a remark


class TooFewImages(InputError):
    """There are too few images, or groups of them, for the splits."""


@dataclass(frozen=True)
class Division:
    """Which image is in which split.

    Attributes:
        rows: one an image, by ascending path.
        remarks: lines for a person.
        images_of: class -> how many images of each split have it; "" are images without objects.
    """

    rows: tuple[DividedImage, ...]
    remarks: tuple[str, ...]
    images_of: Mapping[str, Counter[Split]]


def divide(data: RawData, params: SplitData) -> Division:
    """Deal out the images of `data`, whose records are used up.

    Args:
        data: all that is to be divided is in train.
        params: `dataset.split`.

    An image whose file is not there belongs to no split; it stays in train, for validation to report.

    Raises:
        InputError: the pattern matches no name, or too few groups of images are left to divide.
    """
    classes = _classes_of_images(data)
    there = sorted(file for file in classes if os.path.isfile(data.root / file))
    belonging, remarks = Belonging(there), []
    join_equal_bytes(belonging, data.root, there)
    if params.near:
        join_looking_alike(belonging, data.root, there)
    if params.group is not None:
        alone = join_by_name(belonging, re.compile(params.group), there)
        if alone == len(there) and there:
            raise InputError(
                f"dataset.split.group: {params.group!r} is found in the path of no image, such as {there[0]}; "
                "write a regular expression that is, or null"
            )
        if alone:
            remarks.append(f"dataset.split.group is not found in the paths of {alone:,} of {len(there):,} images")
    groups = belonging.groups()
    _check_enough(data.root, groups, len(there), params)
    splits = stratified([_group(files, classes, params.seed) for files in groups], params.shares)
    rows = [
        DividedImage(file, split, files[0] if len(files) > 1 else "", "+".join(belonging.reasons(file)))
        for files, split in zip(groups, splits, strict=True)
        for file in files
    ]
    remarks[:0] = _summary(rows, groups, belonging)
    remarks += _far_off(rows, groups, params)
    images_of: dict[str, Counter[Split]] = defaultdict(Counter)
    for row in rows:
        for name in sorted(classes[row.file]) or (_WITHOUT_OBJECTS,):
            images_of[name][row.split] += 1
    rows += [DividedImage(file, "train", "", "") for file in {*classes} - {*there}]
    return Division(tuple(sorted(rows, key=lambda row: row.file)), tuple(remarks), images_of)


def divided(data: RawData, division: Division) -> RawData:
    """The data set with the images of train in the splits of the division."""
    split_of: Mapping[str, Split] = {row.file: row.split for row in division.rows}

    def split(file: str, listed: Split) -> Split:
        return split_of.get(file, listed) if listed == "train" else listed

    def records() -> Iterator[RawRecord]:
        for record in data.records:
            yield replace(record, split=split(record.file, record.split))

    images = ((file, split(file, listed)) for file, listed in data.images)
    return replace(data, records=records(), images=images, remarks=(*data.remarks, *division.remarks))


def left_out(unused: Mapping[Split, Collection[str]], reader: str, places: Mapping[Split, Sequence[str]]) -> list[str]:
    """A line on images that only the data's own val or test have, where `dataset.split` gives these images of train.

    Args:
        unused: the images of each split that are in no split now.
        reader: of `dataset.reader`.
        places: the lists that the reader has for each split.
    """
    splits = [split for split in SPLITS if unused.get(split)]
    if not splits:
        return []
    count = count_text(len({image for split in splits for image in unused[split]}), "image")
    lists = ", ".join(dict.fromkeys(place for split in splits for place in places[split][:4]))
    every = ", ".join(dict.fromkeys(place for split in ("train", *splits) for place in places[split]))
    kept = " and ".join(f"dataset.split.{split}" for split in splits)
    return [
        f"{count} of the data's own {' and '.join(splits)} ({lists}) {'is' if count == '1 image' else 'are'} in no "
        f"split: to divide them too set dataset.{reader}.train to [{every}], to keep their split set {kept} to null"
    ]


def split_table(rows: Iterable[DividedImage], with_reasons: bool = True) -> str:
    """The rows as CSV: file and split, and with reasons group and by."""
    columns = ("file", "split", "group", "by") if with_reasons else ("file", "split")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([getattr(row, column) for column in columns] for row in rows)
    return text.getvalue()


def _classes_of_images(data: RawData) -> dict[str, set[str]]:
    """The classes of each image of train, by its path."""
    labels = Labels(data.classes)
    names = ("", *data.classes)
    found: dict[str, set[str]] = {}
    for record in data.records:
        if record.split == "train":
            own = found.setdefault(record.file, set())
            own.update(
                names[labels[name]]
                for name, ignored in zip(record.names, record.ignore.tolist(), strict=True)
                if not ignored and labels[name]
            )
    return found


def _group(files: Sequence[str], classes: Mapping[str, set[str]], seed: int) -> Group:
    numbers = (hashlib.sha256(f"{seed} {file}".encode()).digest() for file in files)
    number = int.from_bytes(min(numbers)[:6], "big") / 2**48
    counts = Counter(name for file in files for name in sorted(classes[file]) or (_WITHOUT_OBJECTS,))
    return Group(number, files[0], len(files), counts)


def _check_enough(root: Path, groups: Sequence[Sequence[str]], images: int, params: SplitData) -> None:
    needed = len(params.shares) + 1
    if len(groups) >= needed:
        return
    if images < needed:
        raise TooFewImages(
            f"{root}: {count_text(images, 'image')} of train cannot be divided into {needed} splits; add images, or "
            "name others in the reader's train"
        )
    remedies = [
        *(["dataset.split.near to false"] if params.near else []),
        *(["dataset.split.group to null"] if params.group is not None else []),
    ]
    raise TooFewImages(
        f"{root}: its {images:,} images make {count_text(len(groups), 'group')} that stay together, too few for "
        f"{needed} splits; add other images" + (f", or set {' or '.join(remedies)}" if remedies else "")
    )


def _summary(rows: Sequence[DividedImage], groups: Sequence[Sequence[str]], belonging: Belonging) -> list[str]:
    counts = Counter(row.split for row in rows)
    parts = ", ".join(f"{counts[split]:,} {split}" for split in SPLITS if counts[split])
    lines = [f"dataset.split divides {count_text(len(rows), 'image')}: {parts}"]
    together = [files for files in groups if len(files) > 1]
    if together:
        by = Counter(reason for row in rows for reason in belonging.reasons(row.file))
        why = {"bytes": "equal bytes", "look": "nearly equal pixels", "name": "their names"}
        reasons = ", ".join(f"{by[reason]:,} by {why[reason]}" for reason in REASONS if by[reason])
        largest = max(together, key=len)
        lines.append(
            f"{sum(map(len, together)):,} images stay together in {count_text(len(together), 'group')} ({reasons}), "
            f"{len(largest):,} in the largest, with {largest[0]}"
        )
    return lines


def _far_off(rows: Sequence[DividedImage], groups: Sequence[Sequence[str]], params: SplitData) -> Iterator[str]:
    counts = Counter(row.split for row in rows)
    largest = max(map(len, groups), default=0)
    for split, share in params.shares.items():
        off = abs(counts[split] - share * len(rows))
        if off > 1 and off > _NOTICED * len(rows):
            yield (
                f"{split} has {counts[split] / len(rows):.0%} of the images in place of {share:.0%}, as {largest:,} "
                "stay together; see dataset.split.near and group"
            )
