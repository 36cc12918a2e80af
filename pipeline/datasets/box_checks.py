"""The checks on the objects of an image: their classes, their boxes, and what is left of them.

They are vectorised over the G objects. An object is at fault for one thing at most, the first of: non_numeric,
unknown_class, non_finite, inverted, zero_area, outside_image. What is left may be subpixel or a duplicate_box.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from pipeline.datasets.base import IGNORE_LABEL, AnnotatedImage
from pipeline.datasets.class_names import Labels
from pipeline.datasets.findings import Findings
from pipeline.datasets.records import Boxes, BoxFormat, Flags, RawRecord
from pipeline.datasets.tally import Tally
from pipeline.runtime.words import count_text

_ONE_PER_IMAGE = {"no_box"}  # kinds that can hold for every object of a data set: one finding per image
_Fault = tuple[int, str, str, str]  # row of the object, kind, detail, what was done


def check_objects(
    form: BoxFormat, record: RawRecord, labels: Labels, size: tuple[int, int], findings: Findings, tally: Tally
) -> AnnotatedImage:
    """The image with the objects that may stay, their boxes clipped to it; adds to `findings` and `tally`.

    Args:
        form: how the boxes of `record` are written.
        record: what the reader found of the image.
        labels: label of each class by name; 0 where a name is not among the classes.
        size: (width, height) of the image, in px.
        findings: of the data set, with the policy.
        tally: of the image's split.

    Raises:
        InputError: a fault whose policy is error.
    """
    label = np.array([labels[name] for name in record.names], np.int16)
    label[record.ignore] = IGNORE_LABEL
    faults: list[_Fault] = []
    made_regions = (label == 0) & (findings.action("unknown_class") == "ignore")
    if made_regions.any():
        faults += [
            (row, "unknown_class", _not_among(record.names[row]), "ignored")
            for row in _rows(_without_word(made_regions, record))
        ]
        label[made_regions] = IGNORE_LABEL
    boxes, sound = _boxes_inside(form, record, label, size, findings, faults)
    for change in record.changes:
        if change.row >= 0 and sound[change.row]:
            sound[change.row] = findings.action(change.kind) != "drop"
            faults.append((change.row, change.kind, change.detail, change.done if sound[change.row] else "dropped"))
    kept = sound.copy()
    for kind, found in (
        ("subpixel", sound & ((boxes[:, 2:] - boxes[:, :2]) < 1).any(axis=1)),
        ("duplicate_box", _duplicates(boxes, label, sound)),
    ):
        if found.any():
            drop = findings.action(kind) == "drop"
            found &= kept
            faults += [
                (row, kind, _details(form, record, row, size), "dropped" if drop else "kept") for row in _rows(found)
            ]
            if drop:
                kept &= ~found
    if record.untagged:
        detail = f"no tag for difficult at {record.untagged} of {len(record.names)} objects"
        findings.add("missing_difficult", record.annotation, -1, detail, "taken as not difficult", "add the tags")
    faults.sort(key=lambda fault: fault[0])
    alike = Counter((kind, done) for _, kind, _, done in faults if kind in _ONE_PER_IMAGE)
    for row, kind, detail, done in faults:
        count = alike.pop((kind, done), 0) if kind in _ONE_PER_IMAGE else 1
        if count > 1 and findings.action(kind) != "error":
            detail = f"{count:,} of {count_text(len(record.names), 'object')}, the first: {detail}"
            findings.add(kind, record.annotation, -1, detail, done, count=count)
        elif count:
            findings.add(kind, record.annotation, int(record.objects[row]), detail, done)
        if done in ("dropped", "ignored"):
            tally.lose(kind, done, detail)
    difficult, iscrowd = record.difficult[kept], record.iscrowd[kept]
    tally.add(label[kept], difficult, iscrowd, int((made_regions & kept).sum()))
    return AnnotatedImage(
        record.image_id,
        record.split,
        f"raw/{record.file}",
        *size,
        boxes[kept],
        label[kept],
        difficult,
        iscrowd,
    )


def _boxes_inside(
    form: BoxFormat,
    record: RawRecord,
    label: npt.NDArray[np.int16],
    size: tuple[int, int],
    findings: Findings,
    faults: list[_Fault],
) -> tuple[npt.NDArray[np.float32], Flags]:
    """(G, 4) float32 boxes clipped to the image, and (G,) which of them may stay; adds to `faults`."""
    numeric = _without_word(np.ones(len(label), np.bool_), record)
    finite: Flags = np.logical_and.reduce(np.isfinite(record.written), axis=1)
    written = np.where(finite[:, None], record.written, 0.0)
    sides = form.sides(written)
    known = numeric & (label != 0)
    inverted = known & finite & (sides < 0).any(axis=1)
    swapped = findings.action("inverted") == "fix"
    if swapped and inverted.any():
        written[inverted] = form.swap(written[inverted])
        sides = form.sides(written)
    left = ~inverted if not swapped else np.ones_like(inverted)
    zero = known & finite & (sides == 0).any(axis=1) & left
    with np.errstate(over="ignore", invalid="ignore"):
        corners = form.corners(written, *size)
        limits = np.array([*size, *size], np.float64)
        inside = np.clip(corners, 0.0, limits)
        sticks_out = ~(np.abs(inside - corners) <= form.rounding * limits).all(axis=1)
    boxes = inside.astype(np.float32)
    empty = ~(boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    sound = known & finite & ~zero & left
    zero |= sound & empty & ~sticks_out
    outside = sound & sticks_out & ~zero
    clipped = outside & ~empty & np.bool_(findings.action("outside_image") == "fix")
    if not (known & finite).all() or (inverted | zero | outside).any():
        for kind, found, done in (
            ("non_numeric", ~numeric, "dropped"),
            ("unknown_class", numeric & (label == 0), "dropped"),
            ("non_finite", known & ~finite, "dropped"),
            ("inverted", inverted, "swapped" if swapped else "dropped"),
            ("zero_area", zero, "dropped"),
            ("outside_image", clipped, "clipped"),
            ("outside_image", outside & ~clipped, "dropped"),
        ):
            faults += [
                (row, kind, _details(form, record, row, size if kind == "outside_image" else None, kind), done)
                for row in _rows(found)
            ]
    return boxes, sound & ~zero & (~outside | clipped)


def _duplicates(boxes: npt.NDArray[np.float32], label: npt.NDArray[np.int16], among: Flags) -> Flags:
    """(G,) which boxes repeat an earlier one of the same label."""
    repeated = np.zeros(len(label), np.bool_)
    rows = np.flatnonzero(among)
    if len(rows) > 1:
        keys = np.concatenate([boxes[rows], label[rows, None].astype(np.float32)], axis=1)
        order = np.lexsort(keys.T)  # stable, so that the first of equals stays first
        same = (keys[order[1:]] == keys[order[:-1]]).all(axis=1)
        repeated[rows[order[1:][same]]] = True
    return repeated


def _details(
    form: BoxFormat, record: RawRecord, row: int, size: tuple[int, int] | None = None, kind: str | None = None
) -> str:
    if kind == "non_numeric":
        return record.non_numeric[row]
    if kind == "unknown_class":
        return _not_among(record.names[row])
    numbers: Boxes = record.written[row]
    detail = f"{', '.join(form.names)} = {', '.join(f'{value:.9g}' for value in numbers)}"
    return detail + (f" in an image of {size[0]} x {size[1]}" if size else "")


def _not_among(name: str) -> str:
    return f"class {name[:60]!r} is not among the classes"


def _without_word(flags: Flags, record: RawRecord) -> Flags:
    """`flags` without the objects that have something else where a number should stand."""
    numeric = flags.copy()
    numeric[list(record.non_numeric)] = False
    return numeric


def _rows(flags: Flags) -> list[int]:
    rows: list[int] = np.flatnonzero(flags).tolist()
    return rows
