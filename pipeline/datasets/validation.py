"""All checks on images and boxes, whatever the reader: raw records in, a checked `Dataset` and its findings out."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.datasets.base import SPLITS, AnnotatedImage, Dataset, Split
from pipeline.datasets.box_checks import check_objects
from pipeline.datasets.class_names import Labels, check_classes, distinct_names
from pipeline.datasets.faults import Faults
from pipeline.datasets.findings import Findings
from pipeline.datasets.images import ImageProblem
from pipeline.datasets.records import Change, RawData, RawRecord
from pipeline.datasets.same_content import Listed, copies_in_later_splits, repeats
from pipeline.datasets.tally import Tally
from pipeline.params.dataset import FindingPolicy
from pipeline.runtime.errors import InputError

Measure = Callable[[Path], tuple[int, int]]
Problems = Callable[[Path], list[ImageProblem]]
_LONGEST_SIDE = 1_000_000  # px; int32 columns and float32 boxes hold it
_MOST_CLASSES = 30_000  # int16 labels hold it
_MENDED = {"exif_orientation": "turned", "mode": "converted to RGB"}


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
                yield check_objects(data.boxes, record, labels, size, findings, tally)
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
