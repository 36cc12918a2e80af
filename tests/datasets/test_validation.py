"""Every kind of finding under every action it may have, on records made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets.base import AnnotatedImage, Finding, Split
from pipeline.datasets.findings import summary
from pipeline.datasets.images import ImageProblem, ProblemKind
from pipeline.datasets.records import CENTRE, INCLUSIVE, XYWH, XYXY, BoxFormat, RawData, RawRecord, no_flags
from pipeline.datasets.validation import validate
from pipeline.params.dataset import FindingPolicy
from pipeline.runtime.errors import InputError
from tests.datasets.policies import policy

SIZE = (100, 80)
GOOD = [10, 20, 30, 40]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in "abc":
        (tmp_path / f"{name}.jpg").touch()
    return tmp_path


def record(*boxes: Sequence[float], names: Sequence[str] | None = None, split: Split = "train") -> RawRecord:
    count = len(boxes)
    return RawRecord(
        image_id="a",
        split=split,
        file="a.jpg",
        annotation="a.txt",
        names=names or ["car"] * count,
        written=np.array(boxes, np.float64).reshape(-1, 4),
        difficult=no_flags(count),
        iscrowd=no_flags(count),
        ignore=no_flags(count),
        objects=np.arange(count) + 3,
        size=SIZE,
    )


def check(
    root: Path,
    *records: RawRecord,
    form: BoxFormat = XYXY,
    size: tuple[int, int] = SIZE,
    **changes: str,
) -> tuple[list[AnnotatedImage], list[Finding]]:
    data = RawData(root, "dataset.made", form, ["car", "dog"], records)
    dataset = validate(data, policy(**changes), lambda _path: size)
    return list(dataset.images), dataset.findings


@pytest.mark.parametrize(
    ("kind", "action", "done"),
    [
        ("undecodable", "drop", "dropped"),
        ("truncated", "drop", "dropped"),
        ("too_large", "drop", "dropped"),
        ("exif_orientation", "drop", "dropped"),
        ("exif_orientation", "fix", "turned"),
        ("mode", "drop", "dropped"),
        ("mode", "fix", "converted to RGB"),
    ],
)
def test_what_an_image_file_has_is_a_finding(tmp_path: Path, kind: ProblemKind, action: str, done: str) -> None:
    data = RawData(tmp_path, "dataset.made", XYXY, ["car", "dog"], (record(GOOD),))
    (tmp_path / data.records[0].file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / data.records[0].file).touch()
    dataset = validate(data, policy(**{kind: action}), lambda _: SIZE, lambda _: [ImageProblem(kind, "so")])
    assert len(list(dataset.images)) == (action == "fix")
    found = [
        (finding.file, finding.object, finding.kind, finding.detail, finding.action) for finding in dataset.findings
    ]
    assert found == [(f"raw/{data.records[0].file}", -1, kind, "so", done)]

    strict = validate(data, policy(**{kind: "error"}), lambda _: SIZE, lambda _: [ImageProblem(kind, "so")])
    with pytest.raises(InputError, match=f"so; replace the image, or set dataset.findings.{kind} to .*drop"):
        list(strict.images)


def one(root: Path, bad: Sequence[float], **options: object) -> tuple[list[list[float]], list[tuple[int, str, str]]]:
    images, findings = check(root, record(GOOD, bad), **options)  # type: ignore[arg-type]
    return images[0].boxes.tolist()[1:], [(finding.object, finding.kind, finding.action) for finding in findings]


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("bad", "kind", "action", "left", "done"),
    [
        ([NAN, 1, 2, 3], "non_finite", "drop", [], "dropped"),
        ([1, 1, INF, 3], "non_finite", "drop", [], "dropped"),
        ([30, 10, 20, 50], "inverted", "drop", [], "dropped"),
        ([30, 10, 20, 50], "inverted", "fix", [[20, 10, 30, 50]], "swapped"),
        ([5, 5, 5, 9], "zero_area", "drop", [], "dropped"),
        ([5, 5, 5.5, 9], "subpixel", "keep", [[5, 5, 5.5, 9]], "kept"),
        ([5, 5, 5.5, 9], "subpixel", "drop", [], "dropped"),
        ([-5, 5, 20, 90], "outside_image", "fix", [[0, 5, 20, 80]], "clipped"),
        ([-5, 5, 20, 90], "outside_image", "drop", [], "dropped"),
        ([100, 5, 120, 9], "outside_image", "fix", [], "dropped"),
        ([1e300, 5, 1e308, 9], "outside_image", "fix", [], "dropped"),
        (GOOD, "duplicate_box", "keep", [GOOD], "kept"),
        (GOOD, "duplicate_box", "drop", [], "dropped"),
    ],
)
def test_a_box_at_fault_is_treated_as_the_policy_says_and_tells_of_it(
    root: Path, bad: list[float], kind: str, action: str, left: list[list[float]], done: str
) -> None:
    assert one(root, bad, **{kind: action}) == (left, [(4, kind, done)])
    with pytest.raises(InputError) as caught:
        one(root, bad, **{kind: "error"})
    message = str(caught.value)
    assert f"{root}/a.txt: object 4: " in message and f"set dataset.findings.{kind} to " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("form", "written", "corners"),
    [
        (INCLUSIVE, [11, 21, 30, 40], [10, 20, 30, 40]),
        (XYXY, [10, 20, 30, 40], [10, 20, 30, 40]),
        (XYWH, [10, 20, 20, 20], [10, 20, 30, 40]),
        (CENTRE, [0.2, 0.375, 0.2, 0.25], [10, 20, 30, 40]),
    ],
)
def test_each_way_to_write_a_box(root: Path, form: BoxFormat, written: list[float], corners: list[float]) -> None:
    images, findings = check(root, record(written), form=form)
    assert np.allclose(images[0].boxes, [corners]) and images[0].boxes.dtype == np.float32 and not findings


@pytest.mark.parametrize(
    ("form", "written"), [(XYWH, [30, 40, -20, -20]), (CENTRE, [0.2, 0.375, -0.2, 0.25]), (INCLUSIVE, [30, 21, 11, 40])]
)
def test_a_negative_side_is_an_inverted_box(root: Path, form: BoxFormat, written: list[float]) -> None:
    images, findings = check(root, record(written), form=form, inverted="fix")
    assert np.allclose(images[0].boxes, [[10, 20, 30, 40]]) and findings[0].action == "swapped"


def test_rounded_numbers_do_not_stick_out(root: Path) -> None:
    images, findings = check(root, record([90.0, 70.0, 10.004, 10.003]), form=XYWH)
    assert images[0].boxes.tolist() == [[90, 70, 100, 80]] and not findings


def test_boxes_of_another_class_are_no_duplicates(root: Path) -> None:
    images, findings = check(root, record(GOOD, GOOD, names=["car", "dog"]), duplicate_box="drop")
    assert len(images[0].boxes) == 2 and not findings


def test_an_unknown_class_is_dropped_or_becomes_an_ignore_region(root: Path) -> None:
    strange = record(GOOD, [1, 2, 30, 40], names=["car", "cart"])
    for action, done, labels in (("drop", "dropped", [1]), ("ignore", "ignored", [1, -1])):
        images, findings = check(root, strange, unknown_class=action)
        assert images[0].labels.tolist() == labels and images[0].labels.dtype == np.int16
        assert [(f.kind, f.object, f.action) for f in findings] == [("unknown_class", 4, done)]
    with pytest.raises(InputError, match="object 4: class 'cart' is not among the classes"):
        check(root, strange, unknown_class="error")


def test_ignore_regions_need_no_class(root: Path) -> None:
    region = replace(record(GOOD, names=["DontCare"]), ignore=np.array([True]))
    images, findings = check(root, region)
    assert images[0].labels.tolist() == [-1] and not findings


def test_a_word_for_a_number_stops_or_drops_the_object(root: Path) -> None:
    worded = replace(record(GOOD, [NAN, 1, 2, 3]), non_numeric={1: "x1 of object 4 is 'left', not a number"})
    images, findings = check(root, worded, non_numeric="drop")
    assert len(images[0].boxes) == 1 and [(f.object, f.kind) for f in findings] == [(4, "non_numeric")]
    with pytest.raises(InputError, match="x1 of object 4 is 'left', not a number; correct it"):
        check(root, worded)


def test_missing_tags_are_one_finding_an_image(root: Path) -> None:
    untagged = replace(record(GOOD, [1, 2, 30, 40]), untagged=2)
    assert not check(root, untagged)[1]
    (finding,) = check(root, untagged, missing_difficult="keep")[1]
    assert (finding.object, finding.kind, finding.action) == (-1, "missing_difficult", "taken as not difficult")
    with pytest.raises(InputError, match="no tag for difficult at 2 of 2 objects; add the tags"):
        check(root, untagged, missing_difficult="error")


def test_an_image_in_two_splits_stays_in_the_later(root: Path) -> None:
    both = record(GOOD), record(GOOD, split="test")
    images, findings = check(root, *both, same_image_in_train_and_test="drop")
    assert [image.split for image in images] == ["test"] and findings[0].kind == "same_image_in_train_and_test"
    with pytest.raises(InputError, match="image 'a' is both in train and in test"):
        check(root, *both)


def test_of_two_images_with_one_id_the_first_stays(root: Path) -> None:
    both = record(GOOD), replace(record(), file="b.jpg")
    images, findings = check(root, *both, duplicate_image_id="drop")
    assert [image.file for image in images] == ["raw/a.jpg"] and findings[0].kind == "duplicate_image_id"
    with pytest.raises(InputError, match=r"b\.jpg and a\.jpg would both be image 'a'; rename one"):
        check(root, *both)


def test_files_that_miss_their_other_half(root: Path) -> None:
    bare, lost = replace(record(), annotated=False), replace(record(GOOD), file="gone.jpg")
    for action, count in (("keep", 1), ("drop", 0)):
        images, findings = check(root, bare, image_without_annotation=action)
        assert len(images) == count and [f.kind for f in findings] == ["image_without_annotation"]
    images, findings = check(root, lost, annotation_without_image="drop")
    assert not images and [(f.file, f.kind) for f in findings] == [("raw/gone.jpg", "annotation_without_image")]
    with pytest.raises(InputError, match=r"a\.txt: no such annotation; add it"):
        check(root, bare)
    with pytest.raises(InputError, match=r"gone\.jpg: no such image; add it"):
        check(root, lost)


def test_another_size_than_the_images(root: Path) -> None:
    images, findings = check(root, record(GOOD), size=(80, 100), size_differs="fix")
    assert (images[0].width, images[0].height) == (80, 100) and findings[0].kind == "size_differs"
    assert not check(root, record(GOOD), size=(80, 100), size_differs="drop")[0]
    with pytest.raises(InputError, match="the annotation says 100 x 80 px"):
        check(root, record(GOOD), size=(80, 100))
    assert check(root, replace(record(GOOD), size=None), size=(50, 60))[0][0].width == 50


def test_no_class_and_a_class_named_twice(root: Path) -> None:
    for classes, message in (([], "nothing to learn"), (["a", "a"], "named twice")):
        with pytest.raises(InputError, match=message):
            validate(RawData(root, "dataset.made", XYXY, classes, [], "dataset.made.classes"), policy())


def test_the_summary_counts_by_kind_and_action() -> None:
    rows = [Finding("raw/a", i, kind, "", "dropped") for i, kind in enumerate(["inverted", "zero_area", "zero_area"])]
    assert summary(rows) == ["2 zero_area dropped", "1 inverted dropped"]


def test_an_action_that_a_kind_cannot_have_is_refused() -> None:
    for kind in FindingPolicy.model_fields:
        assert "error" in FindingPolicy.allowed(kind) and "clip" not in FindingPolicy.allowed(kind)
        with pytest.raises(ValueError, match=kind):
            policy(**{kind: "clip"})
