"""Annotation tools' own files are read as an independent reading reads them, and what is not a box is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.data_layouts.recognising import recognise
from pipeline.datasets.base import Dataset
from pipeline.datasets.findings import count_findings
from pipeline.datasets.reading import read_dataset
from pipeline.runtime.errors import InputError
from tests.conftest import apply_overlay
from tests.data_layouts.photos import HEIGHT, WIDTH, Found, put, put_photo
from tests.datasets.tools.exports import EXPORTS
from tests.defaults import default_content, default_params


def read(root: Path, reader: str, **changes: Any) -> Dataset:
    overlay = {"reader": reader, "split": {"test": 0.4}, **changes}
    params = type(default_params().dataset).model_validate(apply_overlay(default_content()["dataset"], overlay))
    return read_dataset(root, params)


def boxes_of(dataset: Dataset) -> Found:
    return {
        image.file.removeprefix("raw/"): [
            (dataset.classes[label - 1], *box)
            for label, box in zip(image.labels.tolist(), image.boxes.tolist(), strict=True)
        ]
        for image in dataset.images
    }


@pytest.mark.parametrize("name", EXPORTS)
def test_the_boxes_are_those_of_an_independent_reading_and_the_layout_is_recognised(name: str, tmp_path: Path) -> None:
    EXPORTS[name].write(tmp_path)
    expected = {file: boxes for file, boxes in EXPORTS[name].read(tmp_path).items()}
    assert sum(map(len, expected.values())) == 6
    layout = recognise(tmp_path, default_params().dataset, divides=True)
    assert layout.reader == name.split()[0]
    dataset = read(tmp_path, layout.reader, **{layout.reader: layout.block(as_declared=True)})
    found = boxes_of(dataset)
    assert {file: [box[0] for box in boxes] for file, boxes in found.items()} == {
        file: [box[0] for box in boxes] for file, boxes in expected.items()
    }
    for file, boxes in expected.items():
        for mine, theirs in zip(found[file], boxes, strict=True):
            assert mine[1:] == pytest.approx(theirs[1:], abs=1e-4)
    assert dataset.classes == ("apple", "pear") and not dataset.findings
    passed_over = [line for line in dataset.remarks if line.startswith("passed over")]
    assert passed_over == (
        [
            "passed over 1 image not there",
            "passed over 1 image that no file of OpenImages names, such as train/c.jpg",
        ]
        if name == "openimages"
        else []
    )


def test_outlines_become_boxes_with_a_finding_and_what_encloses_nothing_is_counted(tmp_path: Path) -> None:
    put_photo(tmp_path / "labelme/a.jpg")
    put_photo(tmp_path / "labelme/b.jpg")
    shapes = [
        {"label": "apple", "shape_type": "polygon", "points": [[1, 2], [11, 4], [6, 12]]},
        {"label": "apple", "shape_type": "circle", "points": [[20, 16], [23, 20]]},
        {"label": "apple", "shape_type": "point", "points": [[1, 2]]},
    ]
    mask = {"label": "apple", "shape_type": "mask", "points": [[3, 4], [7, 9]], "mask": ""}  # of 5 x 6 pixels
    shapes.append(mask)
    for name in "ab":
        content = {"shapes": shapes, "imagePath": f"C:\\photos\\{name}.jpg", "imageHeight": HEIGHT, "imageWidth": WIDTH}
        put(tmp_path / f"labelme/{name}.json", json.dumps(content))
    dataset = read(tmp_path / "labelme", "labelme")
    assert boxes_of(dataset)["a.jpg"] == [("apple", 1, 2, 11, 12), ("apple", 15, 11, 25, 21), ("apple", 3, 4, 8, 10)]
    kinds = [(finding.file, finding.kind) for finding in dataset.findings]
    assert kinds.count(("raw/a.json", "no_box")) == 3 and kinds.count(("raw/a.json", "file_name")) == 1
    assert "passed over 2 shapes of type point" in dataset.remarks

    put_photo(tmp_path / "cvat/a.jpg")
    put_photo(tmp_path / "cvat/b.jpg")
    rest = (
        '<polygon label="pear" points="1.00,2.00;11.00,4.00;6.00,12.00"/><mask label="pear" left="3" top="4" width="5" '
        'height="6" rle="30"/><ellipse label="pear" cx="20" cy="16" rx="4" ry="2" rotation="90.0"/><tag label="pear"/>'
        '<box label="pear" xtl="10" ytl="14" xbr="30" ybr="18" rotation="90.0"/><points label="pear" points="1,2"/>'
    )
    images = "".join(f'<image name="{n}.jpg" width="{WIDTH}" height="{HEIGHT}">{rest}</image>' for n in "ab")
    put(tmp_path / "cvat/annotations.xml", f"<annotations><meta/>{images}</annotations>")
    dataset = read(tmp_path / "cvat", "cvat")
    expected = [(1, 2, 11, 12), (3, 4, 8, 10), (18, 12, 22, 20), (18, 6, 22, 26)]
    for own, box in zip(boxes_of(dataset)["a.jpg"], expected, strict=True):
        assert own[1:] == pytest.approx(box, abs=1e-4)
    done = {"polygon": 2, "mask": 2, "ellipse": 2, "rotated box": 2}
    expected_counts = {f"the box around the {shape} taken": count for shape, count in done.items()}
    assert count_findings(dataset.findings)["no_box"] == expected_counts
    assert {"passed over 2 shapes of type points", "passed over 2 shapes of type tag"} <= {*dataset.remarks}


def test_label_studio_takes_the_last_annotation_turns_boxes_and_finds_images_behind_urls(tmp_path: Path) -> None:
    def region(**value: Any) -> dict[str, Any]:
        return {"type": "rectanglelabels", "original_width": WIDTH, "original_height": HEIGHT, "value": value}

    old = {"result": [region(x=0, y=0, width=50, height=50, rectanglelabels=["old"])]}
    turned = region(x=50, y=25, width=25, height=25, rotation=90, rectanglelabels=["pear"])  # about its top left corner
    outline = {"points": [[10, 25], [30, 50], [20, 75]], "polygonlabels": ["apple"]}
    brush = {"type": "brushlabels", "value": {"rle": [1], "brushlabels": ["pear"]}}
    tasks: list[dict[str, Any]] = [
        {"data": {"image": "/data/local-files/?d=photos/a%20b.jpg"}, "annotations": [old, {"result": [turned]}]},
        {
            "data": {"image": "https://elsewhere.example/x/c.jpg?sig=1"},
            "annotations": [
                {"result": [region(**outline), brush]},
                {"result": [], "was_cancelled": True},
            ],
        },
        {"data": {"image": "d.jpg"}, "annotations": [], "predictions": [old]},
    ]
    for name in ("photos/a b.jpg", "photos/c.jpg", "photos/d.jpg"):
        put_photo(tmp_path / name)
    put(tmp_path / "tasks.json", json.dumps(tasks))
    dataset = read(tmp_path, "label_studio")
    found = boxes_of(dataset)
    assert [*found] == ["photos/a b.jpg", "photos/c.jpg"]
    assert found["photos/a b.jpg"][0][1:] == pytest.approx((12, 8, 20, 18), abs=1e-4)
    assert found["photos/c.jpg"][0][1:] == pytest.approx((4, 8, 12, 24), abs=1e-4)
    assert dataset.classes == ("apple", "pear")
    assert {"passed over 1 task without an annotation", "passed over 1 region of type brushlabels"} <= {
        *dataset.remarks
    }
    assert "passed over 1 image that no file of Label Studio names, such as photos/d.jpg" in dataset.remarks


@pytest.mark.parametrize(
    ("reader", "name", "text", "line"),
    [
        ("labelme", "a.json", "{}", r"holds no \.json file of LabelMe; correct dataset\.labelme\.train"),
        ("labelme", "a.json", "{", r"a\.json: not valid JSON .*; fix or replace the file"),
        ("labelme", "a.json", '{"imagePath": "a.jpg", "shapes": 3}', r"shapes is not a list of objects; fix the file"),
        (
            "labelme",
            "a.json",
            '{"imagePath": "a.jpg", "shapes": [{"label": "x", "points": [[1, "y"], [2, 3]]}]}',
            r"shapes\[0\]: its points are not all numbers; correct them",
        ),
        ("labelme", "a.json", '{"imagePath": "", "shapes": []}', r"imagePath is '', expected a text"),
        (
            "cvat",
            "a.xml",
            "<annotations><track/></annotations>",
            r"for videos, without images; export it as CVAT for im",
        ),
        ("cvat", "a.xml", "<annotation/>", r"holds no \.xml file of CVAT; correct dataset\.cvat\.train"),
        ("cvat", "a.xml", '<annotations><image name="a.jpg"><box/></image></annotations>', r"object 0: has no label"),
        ("vott", "a.json", '{"assets": {"x": {"asset": {"name": "a.jpg"}, "regions": [{}]}}}', r"has no tags; give it"),
        (
            "label_studio",
            "a.json",
            '[{"data": {}, "annotations": []}]',
            r"its data name no image; write its URL or path",
        ),
        (
            "openimages",
            "a.csv",
            "ImageID,LabelName,XMin,YMin,XMax,YMax\nz,y,0,0,1,1\n",
            r"none of its 1 images is there",
        ),
    ],
)
def test_what_cannot_be_read_ends_in_one_line(reader: str, name: str, text: str, line: str, tmp_path: Path) -> None:
    put_photo(tmp_path / "a.jpg")
    put(tmp_path / name, text)
    with pytest.raises(InputError, match=line) as caught:
        read(tmp_path, reader)
    assert "\n" not in str(caught.value)


def test_an_image_that_two_folders_have_is_that_beside_the_file_or_refused(tmp_path: Path) -> None:
    put_photo(tmp_path / "one/a.jpg")
    put_photo(tmp_path / "two/b.jpg")
    (tmp_path / "two/b.jpg").rename(tmp_path / "two/a.jpg")
    content = json.dumps({"shapes": [], "imagePath": "a.jpg"})
    put(tmp_path / "one/a.json", content.replace("[]", '[{"label": "x", "points": [[1, 2], [3, 4], [1, 4]]}]'))
    put(tmp_path / "two/a.json", content)
    assert [*boxes_of(read(tmp_path, "labelme"))] == ["one/a.jpg", "two/a.jpg"]
    (tmp_path / "two/a.json").rename(tmp_path / "a.json")
    with pytest.raises(
        InputError, match=r"'a\.jpg' may be one/a\.jpg or two/a\.jpg; write the path from the data root"
    ):
        read(tmp_path, "labelme")


def test_non_numeric_sides_are_findings(tmp_path: Path) -> None:
    put_photo(tmp_path / "a.jpg")
    put_photo(tmp_path / "b.jpg")
    images = "".join(
        f'<image name="{n}.jpg"><box label="x" xtl="1" ytl="2" xbr="{end}" ybr="9"/></image>'
        for n, end in (("a", "wide"), ("b", "9"))
    )
    put(tmp_path / "annotations.xml", f"<annotations>{images}</annotations>")
    dataset = read(tmp_path, "cvat", findings={"non_numeric": "drop"})
    assert boxes_of(dataset) == {"a.jpg": [], "b.jpg": [("x", 1, 2, 9, 9)]}
    assert [finding.detail for finding in dataset.findings] == ["x2 of object 0 is 'wide', not a number"]


def test_parameters_of_earlier_versions_lack_the_tools_and_the_shares() -> None:
    content = default_content()["dataset"]
    new = ("labelme", "cvat", "label_studio", "vott", "openimages", "split")
    older = {key: value for key, value in content.items() if key not in new}
    assert type(default_params().dataset).model_validate(older) == default_params().dataset


def test_large_json_files_are_not_tried_for_each_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    EXPORTS["vott"].write(tmp_path)
    assert recognise(tmp_path, default_params().dataset, divides=True).reader == "vott"
    monkeypatch.setattr("pipeline.data_layouts.tools._LARGEST", 100)
    with pytest.raises(InputError, match="no reader fits"):
        recognise(tmp_path, default_params().dataset, divides=True)


def test_a_folder_a_split_is_recognised(tmp_path: Path) -> None:
    for split in ("train", "test"):
        EXPORTS["labelme"].write(tmp_path / split)
    layout = recognise(tmp_path, default_params().dataset)
    assert layout.reader == "labelme" and layout.splits == {"train": ["train/"], "test": ["test/"]}
