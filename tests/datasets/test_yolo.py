"""The YOLO reader: shares of the sides, names in two forms, folders and lists."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.datasets.base import Dataset
from pipeline.datasets.images import image_size, problems_of
from pipeline.datasets.validation import validate
from pipeline.datasets.yolo import read_yolo
from pipeline.runtime.errors import InputError
from tests.datasets.policies import policy


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("train/b.jpg", "train/day/a.png", "val/c.jpg"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((80, 100, 3), ord(path.stem), np.uint8))
        (tmp_path / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "labels/train/b.txt").write_text("1 0.2 0.375 0.2 0.25\n0 0.5 0.5 1 1\n")
    (tmp_path / "labels/train/day/a.txt").write_text("\n")
    (tmp_path / "labels/val/c.txt").write_text("2 0.5 0.5 0.1 0.1\n")
    (tmp_path / "data.yaml").write_text("names:\n  0: cat\n  1: dog\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    (tmp_path / "val.txt").write_text("./images/val/c.jpg\n")
    return tmp_path


def read(root: Path, test: str = "images/val", names: str = "data.yaml", **changes: str) -> Dataset:
    data = read_yolo(root, {"train": ["images/train"], "val": [], "test": [test]}, names)
    return validate(data, policy(**changes), image_size)


@pytest.mark.parametrize("names", ["data.yaml", "classes.txt"])
@pytest.mark.parametrize("test", ["images/val", "val.txt"])
def test_reads_boxes_as_shares_of_the_sides(root: Path, test: str, names: str) -> None:
    dataset = read(root, test, names)
    b, a, c = dataset.images
    assert dataset.classes == ("cat", "dog")
    assert [one.image_id for one in (b, a, c)] == ["images_train_b", "images_train_day_a", "images_val_c"]
    assert np.allclose(b.boxes, [[10, 20, 30, 40], [0, 0, 100, 80]]) and b.labels.tolist() == [2, 1]
    assert len(a.boxes) == 0 and c.split == "test" and len(c.boxes) == 0
    assert [(finding.object, finding.kind) for finding in dataset.findings] == [(0, "unknown_class")]


@pytest.mark.parametrize(("action", "images", "findings"), [("keep", 3, 1), ("allow", 3, 0), ("drop", 2, 1)])
def test_an_image_without_a_label_file_has_no_objects(root: Path, action: str, images: int, findings: int) -> None:
    (root / "labels/train/day/a.txt").unlink()
    assert policy().no_label_file == "keep"
    dataset = read(root, no_label_file=action, image_without_annotation="error")
    found = list(dataset.images)
    assert len(found) == images and all(len(image.boxes) == 0 for image in found if image.image_id.endswith("day_a"))
    assert [finding.kind for finding in dataset.findings] == ["no_label_file"] * findings + ["unknown_class"]
    assert {finding.action for finding in dataset.findings[:-1]} <= {"kept" if images == 3 else "dropped"}


def test_a_policy_of_error_ends_at_an_image_without_a_label_file(root: Path) -> None:
    (root / "labels/train/day/a.txt").unlink()
    with pytest.raises(
        InputError, match=r"labels/train/day/a\.txt: no such annotation; .*findings\.no_label_file to drop or"
    ):
        list(read(root, no_label_file="error").images)


def test_labels_may_lie_beside_images_in_a_folder_called_images(root: Path) -> None:
    (root / "labels/train/b.txt").rename(root / "images/train/b.txt")
    dataset = read(root)
    assert next(dataset.images).labels.tolist() == [2, 1]
    (root / "labels/train/b.txt").write_text("0 .5 .5 .5 .5\n")  # which YOLO itself reads
    assert next(read(root).images).labels.tolist() == [1]


def test_folders_may_be_written_large(root: Path) -> None:
    (root / "images").rename(root / "Images")
    (root / "labels").rename(root / "Labels")
    data = read_yolo(root, {"train": ["Images/train"], "val": [], "test": ["Images/val"]}, "data.yaml")
    images = list(validate(data, policy(), image_size).images)
    assert [len(image.boxes) for image in images] == [2, 0, 0]
    (root / "Images/train/b.jpg").unlink()
    data = read_yolo(root, {"train": ["Images/train"], "val": [], "test": ["Images/val"]}, "data.yaml")
    with pytest.raises(InputError, match=r"Images/train/b\.\*: no such image"):
        list(validate(data, policy(), image_size).images)


LISTS = {
    "absolute": ("/home/other/set/images/val/c.jpg", "/home/other/set/images/val/d.jpg"),
    "of darknet": ("data/images/val/c.jpg", "data/images/val/d.jpg"),
    "of Windows": ("C:\\\\set\\images\\val\\c.jpg", "C:\\set\\images\\val\\d.jpg"),
    "climbing": ("../images/val/c.jpg", "../../set/images/val/d.jpg"),
    "mixed": ("images/val/c.jpg", "./images/val/d.jpg"),
}


@pytest.mark.parametrize("lines", LISTS.values(), ids=LISTS.keys())
@pytest.mark.parametrize("name", ["val.txt", "lists/val.txt"])
def test_a_list_of_another_machine_or_tool_means_the_files_that_are_here(
    root: Path, lines: tuple[str, str], name: str
) -> None:
    cv2.imwrite(str(root / "images/val/d.jpg"), np.zeros((80, 100, 3), np.uint8))
    (root / "lists").mkdir()
    (root / name).write_text("\n".join(lines))
    dataset = read(root, name, unknown_class="ignore")
    images = [image for image in dataset.images if image.split == "test"]
    told = [finding.detail for finding in dataset.findings if finding.kind == "file_name"]
    from_its_folder = name == "lists/val.txt" and lines[0] == "../images/val/c.jpg"
    assert len(told) == (0 if lines[0] == "images/val/c.jpg" else 2 - from_its_folder)
    assert all(f"of {name}: " in text for text in told)
    assert [image.file for image in images] == ["raw/images/val/c.jpg", "raw/images/val/d.jpg"]
    assert [len(image.boxes) for image in images] == [1, 0]


def test_a_list_may_name_files_from_its_own_folder(root: Path) -> None:
    (root / "images/val/list.txt").write_text("./c.jpg\n")
    dataset = read(root, "images/val/list.txt")
    assert [image.file for image in dataset.images][-1] == "raw/images/val/c.jpg"
    assert [finding.kind for finding in dataset.findings] == ["unknown_class"]


def test_two_listed_paths_are_never_silently_one_file(root: Path) -> None:
    (root / "val.txt").write_text("/one/images/val/c.jpg\n/two/images/val/c.jpg\n")
    with pytest.raises(
        InputError, match=r"'/one/.*' and '/two/.*' would both be images/val/c\.jpg; write them relative"
    ):
        read(root, "val.txt")


def test_a_listed_accent_may_be_one_character_or_two(root: Path) -> None:
    (root / "images/val/c.jpg").rename(root / "images/val/caf\u00e9.jpg")
    (root / "labels/val/c.txt").rename(root / "labels/val/caf\u00e9.txt")
    (root / "val.txt").write_text("images/val/cafe\u0301.jpg\n", encoding="utf-8")
    dataset = read(root, "val.txt")
    assert [image.file for image in dataset.images][-1] == "raw/images/val/caf\u00e9.jpg"
    assert "file_name" in {finding.kind for finding in dataset.findings}


POLYGONS = {
    "a segmentation": ("0 0.1 0.2 0.5 0.1 0.3 0.6", [10, 8, 50, 48]),
    "an oriented box": ("0 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5", [10, 8, 90, 72]),
    "of many corners": ("0 " + "0.25 0.25 0.75 0.75 " * 50, [25, 20, 75, 60]),
    "beyond the image": ("0 -0.2 0.5 0.5 0.5 0.5 1.5", [0, 40, 50, 80]),
}


@pytest.mark.parametrize(("line", "box"), POLYGONS.values(), ids=POLYGONS.keys())
def test_a_polygon_is_the_box_around_it_and_a_finding(root: Path, line: str, box: list[float]) -> None:
    (root / "labels/train/b.txt").write_text(f"1 0.2 0.375 0.2 0.25\n\n{line}\n")
    dataset = read(root)
    image = next(dataset.images)
    assert np.allclose(image.boxes, [[10, 20, 30, 40], box]) and image.labels.tolist() == [2, 1]
    told = next(finding for finding in dataset.findings if finding.kind == "no_box")
    assert (told.file, told.object, told.action) == (
        "raw/labels/train/b.txt",
        2,
        "the box around its polygon taken",
    )
    dropped = read(root, no_box="drop")
    assert len(next(dropped.images).boxes) == 1 and dropped.findings[-1].action in ("dropped", "clipped")
    with pytest.raises(
        InputError, match=r"b\.txt: object 2: .* corners of a polygon, and no box.*no_box to fix or drop"
    ):
        list(read(root, no_box="error").images)


@pytest.mark.parametrize("line", ["0 .1 .1 .5 .1 .9 .1", "0 .1 .1 nan .1 .9 .5", "0 .1 .1 inf .1 .9 .5"])
def test_a_polygon_without_a_box_around_it_is_dropped_as_a_box_is(root: Path, line: str) -> None:
    (root / "labels/train/b.txt").write_text(f"1 0.2 0.375 0.2 0.25\n{line}\n")
    dataset = read(root)
    assert len(next(dataset.images).boxes) == 1
    assert next(finding.kind for finding in dataset.findings) in ("zero_area", "non_finite")


@pytest.mark.parametrize("line", ["0 .5 .5 .2 .2 .9 1", "1 .5 .5 1 1 0.31 27", "0 .1 .1 .2 .2 1 0"])
def test_a_box_with_a_score_and_a_track_is_no_polygon(root: Path, line: str) -> None:
    (root / "labels/train/b.txt").write_text(f"1 0.2 0.375 0.2 0.25\n{line}\n")
    with pytest.raises(
        InputError, match=r"b\.txt: line 2 has 7 fields, .* a box, a score and a track.*; delete"
    ) as caught:
        list(read(root).images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "line", ["0 .1 .2 .5 .1 .3 1", "0 .5 .5 .2 .2 .9 .7", "0 .9 .5 .4 .2 .3 0", "0 .5 .5 0 .2 .3 1"]
)
def test_a_triangle_at_the_border_is_a_polygon(root: Path, line: str) -> None:
    (root / "labels/train/b.txt").write_text(f"{line}\n")
    x, y = np.array(line.split()[1:], float).reshape(-1, 2).T
    expected = [100 * x.min(), 80 * y.min(), 100 * x.max(), 80 * y.max()]
    assert np.allclose(next(read(root).images).boxes, [expected])


def test_keypoints_that_the_names_declare_follow_the_box(root: Path) -> None:
    (root / "data.yaml").write_text("names: [cat, dog]\nkpt_shape: [3, 2] # x, y\n")
    (root / "labels/train/b.txt").write_text("1 0.2 0.375 0.2 0.25 .1 .1 .2 .2 .3 .3\n0 .5 .5 1 1\n")
    dataset = read(root)
    image = next(dataset.images)
    assert np.allclose(image.boxes, [[10, 20, 30, 40], [0, 0, 100, 80]]) and not dataset.findings
    (root / "labels/train/b.txt").write_text("1 0.2 0.375 0.2 0.25 .1 .1\n")
    with pytest.raises(
        InputError, match=r"b\.txt: line 1 has 7 fields, a box has 5 .* with keypoints 11, as kpt_shape"
    ):
        list(read(root).images)


def test_scores_of_detections_are_told_once_a_file(root: Path) -> None:
    (root / "labels/train/b.txt").write_text("1 0.2 0.375 0.2 0.25 0.93\n0 .5 .5 1 1 1\n")
    dataset = read(root)
    assert np.allclose(next(dataset.images).boxes, [[10, 20, 30, 40], [0, 0, 100, 80]])
    (told,) = [finding for finding in dataset.findings if finding.kind == "scores"]
    assert (told.detail, told.action) == ("2 of 2 lines have a sixth number, as detections have a score", "kept")


@pytest.mark.parametrize(
    ("name", "splits", "kind"),
    [
        ("yolo_polygon", ("images/train", "images/val"), "no_box"),
        ("yolo_list_absolute", ("train.txt", "val.txt"), "file_name"),
    ],
)
def test_reads_what_users_have(name: str, splits: tuple[str, str], kind: str) -> None:
    trouble = Path(__file__).resolve().parents[2].parent / "shared/data/trouble"
    if not trouble.is_dir():
        pytest.skip("the odd data sets are not on this machine")
    data = read_yolo(trouble / name, {"train": [splits[0]], "val": [], "test": [splits[1]]}, "data.yaml")
    dataset = validate(data, policy(), image_size)
    lines = sum(len(path.read_text().split("\n")) - 1 for path in (trouble / name / "labels").rglob("*.txt"))
    assert sum(len(image.boxes) for image in dataset.images) == lines > 0
    assert {finding.kind for finding in dataset.findings} == {kind}


def test_a_listed_image_that_is_not_there_is_missed_where_the_others_are(root: Path) -> None:
    (root / "val.txt").write_text("/set/images/val/c.jpg\n/set/images/val/gone.jpg\n")
    with pytest.raises(InputError, match=r"images/val/gone\.jpg: no such image; add it or remove gone from val\.txt"):
        list(read(root, "val.txt").images)
    (root / "val.txt").write_text("/set/photos/gone.jpg\n")
    with pytest.raises(InputError, match=r"line 1: '/set/photos/gone\.jpg' is not a path below the data root"):
        list(read(root, "val.txt").images)


def test_the_data_root_itself_may_be_the_folder_of_a_split(tmp_path: Path) -> None:
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), np.full((80, 100, 3), ord(name), np.uint8))
        (tmp_path / f"{name}.txt").write_text("0 .5 .5 .5 .5\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    (tmp_path / "test.txt").write_text("b.jpg\n")
    data = read_yolo(tmp_path, {"train": ["."], "val": [], "test": ["test.txt"]}, "classes.txt")
    dataset = validate(data, policy(same_image_in_train_and_test="drop"), image_size)
    assert [(image.image_id, image.split, len(image.boxes)) for image in dataset.images] == [
        ("a", "train", 1),
        ("b", "test", 1),
    ]


@pytest.mark.parametrize("index", ["0", "0.0", "+0", "0e0", "00", " 0"])
def test_a_class_index_may_be_any_whole_number(root: Path, index: str) -> None:
    (root / "labels/train/b.txt").write_text(f"{index} 0.2 0.375 0.2 0.25\n1e0 .5 .5 .5 .5\n")
    dataset = read(root)
    assert next(dataset.images).labels.tolist() == [1, 2] and not dataset.findings


@pytest.mark.parametrize("index", ["-1", "1.5", "2", "nan", "inf", "dog", "0_1", "1e400", "\u00b2"])
def test_an_index_of_no_class_is_a_finding(root: Path, index: str) -> None:
    (root / "labels/train/b.txt").write_text(f"{index} 0.2 0.375 0.2 0.25\n0 .5 .5 .5 .5\n", encoding="utf-8")
    dataset = read(root)
    assert next(dataset.images).labels.tolist() == [1]
    assert [(f.object, f.kind, f.action) for f in dataset.findings] == [(0, "unknown_class", "dropped")]
    assert f"index {index}" in dataset.findings[0].detail


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".gif", ".GIF", ".dib", ".TIF", ".apng"])
def test_images_of_every_suffix_that_is_read_are_taken(root: Path, suffix: str) -> None:
    (root / "images/train/b.jpg").rename(root / f"images/train/b{suffix}")
    first = next(read(root).images)
    assert first.file == f"raw/images/train/b{suffix}" and len(first.boxes) == 2


@pytest.mark.parametrize("suffix", [".heic", ".avif", ".HEIC", ".jp2"])
def test_an_image_of_a_kind_that_is_not_read_is_a_finding(root: Path, suffix: str) -> None:
    (root / f"images/train/e{suffix}").write_bytes(b"\0\0\0 ftypheic" + bytes(100))
    (root / "labels/train/e.txt").write_text("0 .5 .5 .5 .5\n")
    data = read_yolo(root, {"train": ["images/train"], "val": [], "test": ["images/val"]}, "data.yaml")
    dataset = validate(data, policy(undecodable="drop", mode="fix"), image_size, problems_of)
    assert len(list(dataset.images)) == 3
    assert [(f.file, f.kind) for f in dataset.findings if f.kind == "undecodable"] == [
        (f"raw/images/train/e{suffix}", "undecodable")
    ]


def test_the_original_beside_a_converted_image_is_no_second_one(root: Path) -> None:
    (root / "images/train/b.heic").write_bytes(b"\0\0\0 ftypheic" + bytes(100))
    dataset = read(root)
    assert len(list(dataset.images)) == 3
    assert [finding.kind for finding in dataset.findings] == ["unknown_class"]


@pytest.mark.parametrize("label", ["labels/train/z.txt", "labels/train/gone/z.txt", "labels/val/z.txt"])
@pytest.mark.parametrize("text", ["0 .5 .5 .5 .5\n", "\n"])
def test_labels_without_an_image_are_told(root: Path, label: str, text: str) -> None:
    (root / label).parent.mkdir(exist_ok=True)
    (root / label).write_text(text)
    with pytest.raises(InputError, match=r"images/.*z\.\*: no such image; add it or remove z from images/"):
        list(read(root).images)
    dataset = read(root, annotation_without_image="drop")
    assert len(list(dataset.images)) == 3
    found = [finding.file for finding in dataset.findings if finding.kind == "annotation_without_image"]
    assert found == [f"raw/{label.replace('labels', 'images')[:-4]}.*"]


def test_labels_beside_the_images_are_told_too_but_no_notes(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        cv2.imwrite(str(tmp_path / split / "a.jpg"), np.full((80, 100, 3), len(split), np.uint8))
        (tmp_path / split / "a.txt").write_text("0 .5 .5 .5 .5\n")
        (tmp_path / split / "classes.txt").write_text("cat\n")
        (tmp_path / split / "README.txt").write_text("This is a data set of cats.\n")
        (tmp_path / split / "._a.txt").write_text("0 .5 .5 .5 .5\n")
    (tmp_path / "val/gone.txt").write_text("0 .5 .5 .5 .5\n")
    (tmp_path / "data.yaml").write_text("names: [cat]\n")
    data = read_yolo(tmp_path, {"train": ["train"], "val": [], "test": ["val"]}, "data.yaml")
    dataset = validate(data, policy(annotation_without_image="drop"), image_size)
    assert len(list(dataset.images)) == 2
    assert [(f.file, f.kind) for f in dataset.findings] == [("raw/val/gone.*", "annotation_without_image")]


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("names: [0, 1]", ("0", "1")),
        ("names: [yes, no]", ("yes", "no")),
        ("names: [null, 1.0]", ("null", "1.0")),
        ("names: {1: b, 0: 0x1F}", ("0x1F", "b")),
        ("names:\n- 2019-01-01\n- ~\n", ("2019-01-01", "~")),
    ],
)
def test_names_of_yaml_are_as_they_are_written(root: Path, text: str, classes: tuple[str, ...]) -> None:
    (root / "data.yaml").write_text(text)
    assert read(root).classes == classes


@pytest.mark.parametrize("text", ["cat\n\ndog\n", "\ncat\ndog\n"])
def test_an_empty_line_among_the_names_is_refused(root: Path, text: str) -> None:
    (root / "classes.txt").write_text(text)
    with pytest.raises(InputError, match=r"classes\.txt: a class is called '', which is not a name"):
        read(root, names="classes.txt")


def test_what_systems_leave_is_passed_over_in_folders_and_lists_and_told_once(root: Path) -> None:
    for name in ("train/._b.jpg", "train/.DS_Store", "train/.ipynb_checkpoints/b-checkpoint.jpg", "val/._c.jpg"):
        (root / "images" / name).parent.mkdir(exist_ok=True)
        (root / "images" / name).write_bytes(b"\0\5\x16\7")
    (root / "labels/train/._b.txt").write_bytes(b"\0\5\x16\7")
    (root / "val.txt").write_text("images/val/._c.jpg\nimages/val/c.jpg\n")
    dataset = read(root, "val.txt")
    assert len(list(dataset.images)) == 3 and [finding.kind for finding in dataset.findings] == ["unknown_class"]
    assert dataset.remarks == ["passed over 4 files that systems leave, such as images/train/.DS_Store"]


def test_images_and_labels_below_linked_folders_are_read(root: Path) -> None:
    (root / "images/train/day").rename(root / "photos")
    (root / "images/train/day").symlink_to("../../photos")
    (root / "labels/train/day").rename(root / "texts")
    (root / "labels/train/day").symlink_to("../../texts")
    assert [image.image_id for image in read(root).images] == ["images_train_b", "images_train_day_a", "images_val_c"]


def test_a_name_with_a_line_break_is_one_line(root: Path) -> None:
    (root / "images/train/b.jpg").rename(root / "images/train/b\nb.jpg")
    with pytest.raises(InputError, match=r"'images/train/b\\\\nb.jpg' has a control character.*; rename it"):
        read(root)
