"""All checks on boxes and images, whatever the reader: raw records in, a checked `Dataset` and its findings out.

Checks are vectorised over the G objects of an image. An object is at fault for one thing at most, the first of:
non_numeric, unknown_class, non_finite, inverted, zero_area, outside_image. What is left may be subpixel or a
duplicate_box.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.datasets.base import IGNORE_LABEL, SPLITS, AnnotatedImage, Dataset, Split
from pipeline.datasets.class_names import Labels, check_classes, distinct_names
from pipeline.datasets.faults import Faults
from pipeline.datasets.findings import Findings
from pipeline.datasets.images import ImageProblem
from pipeline.datasets.records import Boxes, BoxFormat, Change, Flags, RawData, RawRecord
from pipeline.datasets.same_content import Listed, copies_in_later_splits, repeats
from pipeline.datasets.tally import Tally
from pipeline.params.dataset import FindingPolicy
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text

Measure = Callable[[Path], tuple[int, int]]
Problems = Callable[[Path], list[ImageProblem]]
_LONGEST_SIDE = 1_000_000  # px; int32 columns and float32 boxes hold it
_MOST_CLASSES = 30_000  # int16 labels hold it
_MENDED = {"exif_orientation": "turned", "mode": "converted to RGB"}
_ONE_PER_IMAGE = {"no_box"}  # kinds that can hold for every object of a data set: one finding per image
_Fault = tuple[int, str, str, str]  # row of the object, kind, detail, what was done


def validate(
    data: RawData,
    policy: FindingPolicy,
    measure: Measure | None = None,
    problems: Problems | None = None,
    faults: Faults | None = None,
) -> Dataset:
    """Check a raw data set image by image, as the images of the result are iterated.

    Args:
        data: what a reader returned.
        policy: `dataset.findings`.
        measure: (width, height) in px of an image file; needed where annotations give no size. None: sizes that
            annotations give are believed.
        problems: what is not plain about an image file. None: none is looked at.
        faults: those of the reader, and whether to continue after more of them; None: not.

    Raises:
        InputError: there is no class to learn; while iterating, a fault whose policy is error.
    """
    faults = faults or Faults()
    classes: tuple[str, ...] = ()
    with faults.going_on():
        classes = _classes_of(data, faults)
    findings = Findings(data.root, policy)
    tallies = {split: Tally() for split in SPLITS}
    data = replace(data, images=[*data.images])
    remarks = [*data.remarks, *repeats(data.root, data.images)]
    images = _check(data, classes, findings, measure, problems, faults, tallies)
    return Dataset(classes, images, findings.rows, remarks, tallies, data.named_in or "")


def _classes_of(data: RawData, faults: Faults) -> tuple[str, ...]:
    if data.named_in is not None:
        classes = check_classes(data.classes, data.named_in)
    else:
        others = f" in the annotations, or name the other classes in {data.section}.classes"
        classes = check_classes(distinct_names(data.classes), str(data.root), others)
    if not classes and not faults.lines:  # else what is at fault may name some
        raise InputError(
            f"{data.root}: no listed annotation has an object of a class, so there is nothing to learn; label some"
        )
    if len(classes) > _MOST_CLASSES:
        raise InputError(f"{data.root}: has {len(classes)} classes, at most {_MOST_CLASSES} are possible; merge some")
    return classes


def _check(
    data: RawData,
    classes: tuple[str, ...],
    findings: Findings,
    measure: Measure | None,
    problems: Problems | None,
    faults: Faults,
    tallies: dict[Split, Tally],
) -> Iterator[AnnotatedImage]:
    labels = Labels(classes)
    is_reported = findings.action("same_content_in_train_and_test") != "allow"
    copies = copies_in_later_splits(data.root, data.images) if is_reported else {}
    for file, change in data.changes:
        with faults.going_on():
            findings.add(change.kind, file, -1, change.detail, change.done, change.remedy)
    last = ""
    for image_id, claims in itertools.groupby(data.records, key=lambda record: record.image_id):
        if image_id <= last:
            raise ValueError(f"records are not in ascending image_id: {image_id!r} after {last!r}")
        last = image_id
        with faults.going_on():
            record = _one_of(list(claims), findings)
            size = _size_of(data, record, findings, measure, problems, copies)
            tally = tallies[record.split]
            if size is not None:
                yield _check_objects(data.boxes, record, labels, size, findings, tally)
            else:
                why = findings.rows[-1]
                tally.lose_image(why.kind, why.action, why.detail, len(record.names))


def _one_of(claims: list[RawRecord], findings: Findings) -> RawRecord:
    """The one record of an image id: that of the latest split, so that no test image is trained on."""
    chosen = max(claims, key=lambda record: SPLITS.index(record.split))  # the first of equals
    for other in claims:
        if other is chosen:
            continue
        if other.split != chosen.split and other.file == chosen.file:
            kind = "same_image_in_train_and_test"
            detail = f"image {chosen.image_id!r} is both in {other.split} and in {chosen.split}"
            remedy = f"remove it from one of these in {chosen.listed_in}"
        else:
            kind = "duplicate_image_id"
            detail = f"{_as_named(other)} and {_as_named(chosen)} would both be image {chosen.image_id!r}"
            remedy = "rename one" if other.file != chosen.file else "list it once"
        findings.add(kind, other.annotation, -1, detail, "dropped", remedy)
    return chosen


def _as_named(record: RawRecord) -> str:
    """The image's path, and its name as the annotation has it where that is another."""
    name = next((change.name for change in record.changes if change.name), "")
    return f"{record.file} (written {name[:200]!r})" if name else record.file


def _size_of(
    data: RawData,
    record: RawRecord,
    findings: Findings,
    measure: Measure | None,
    problems: Problems | None,
    copies: Mapping[Listed, Listed],
) -> tuple[int, int] | None:
    """(width, height) in px of the image, None where the image is to be left out."""
    stem = record.file.rpartition("/")[2].rpartition(".")[0]
    remedy = f"add it or remove {stem} from {record.listed_in}"
    if not record.annotated:
        keep = findings.action(record.absent) in ("keep", "allow")
        done = "kept" if keep else "dropped"
        findings.add(record.absent, record.annotation, -1, "no such annotation", done, remedy)
        if not keep:
            return None
    for change in record.changes:
        if change.row < 0 and not _may_stay(change, record, findings):
            return None
    path = data.root / record.file
    if not os.path.isfile(path):
        findings.add("annotation_without_image", record.file, -1, "no such image", "dropped", remedy)
        return None
    if (record.file, record.split) in copies:
        copy, split = copies[record.file, record.split]
        keep = findings.action("same_content_in_train_and_test") == "keep"
        detail, done = f"the same bytes as {copy}, which is in {split}", "kept" if keep else "dropped"
        findings.add("same_content_in_train_and_test", record.file, -1, detail, done, "remove one from its split")
        if not keep:
            return None
    for kind, detail in problems(path) if problems else ():
        fixed = findings.action(kind) == "fix"
        findings.add(kind, record.file, -1, detail, _MENDED[kind] if fixed else "dropped", "replace the image")
        if not fixed:
            return None
    annotated = record.size
    found = measure(path) if measure else None
    if annotated is not None and annotated != found:
        if found is not None:
            detail = (
                f"the annotation says {annotated[0]:g} x {annotated[1]:g} px, {record.file} has {found[0]} x {found[1]}"
            )
            fixed = findings.action("size_differs") == "fix"
            done = "the image's size taken" if fixed else "dropped"
            findings.add("size_differs", record.annotation, -1, detail, done, "correct the annotation")
            return found if fixed else None
        if not all(1 <= side <= _LONGEST_SIDE and float(side).is_integer() for side in annotated):
            raise InputError(
                f"{data.root / record.annotation}: the size {annotated[0]:g} x {annotated[1]:g} is not an image size; "
                f"write that of {record.file} in pixels"
            )
        return int(annotated[0]), int(annotated[1])
    if found is None:
        raise ValueError(f"{record.file}: its annotation has no size, so validation must measure the image")
    return found


def _may_stay(change: Change, record: RawRecord, findings: Findings) -> bool:
    """Whether the image stays after what was changed in it; adds the finding."""
    dropped = findings.action(change.kind) == "drop"
    done = "dropped" if dropped else change.done
    findings.add(change.kind, record.annotation, -1, change.detail, done, change.remedy)
    return not dropped


def _check_objects(
    form: BoxFormat, record: RawRecord, labels: Labels, size: tuple[int, int], findings: Findings, tally: Tally
) -> AnnotatedImage:
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
