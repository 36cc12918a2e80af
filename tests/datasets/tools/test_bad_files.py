"""Bad files of annotation tools end in one line, lose no box silently, and do not stop the recognition of others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest

from pipeline.data_layouts.recognising import recognise
from pipeline.datasets.faults import Faults
from pipeline.datasets.reading import read_dataset
from pipeline.datasets.tools.all_tools import TOOLS
from pipeline.datasets.tools.annotated import read_tool
from pipeline.runtime.errors import InputError
from tests.conftest import apply_overlay
from tests.data_layouts.photos import put, put_photo
from tests.datasets.tools.exports import EXPORTS
from tests.datasets.tools.test_tools import boxes_of, read
from tests.defaults import default_content, default_params

HUGE = 10**400
SUFFIXES = {"cvat": ".xml", "openimages": ".csv"}
HEADER = "ImageID,LabelName,XMin,YMin,XMax,YMax\n"


def shape(**changes: Any) -> str:
    return json.dumps(
        {"imagePath": "a.jpg", "shapes": [{"label": "x", "points": [[1, 2], [3, 4]], **changes}]}, default=str
    )


def task(region: dict[str, Any] | None = None, **data: Any) -> str:
    return json.dumps([{"data": data or {"image": "a.jpg"}, "annotations": [{"result": [region] if region else []}]}])


def turned(**changes: Any) -> dict[str, Any]:
    value = {"x": 1, "y": 1, "width": 9, "height": 9, "rotation": 9, "rectanglelabels": ["x"], **changes}
    return {"id": "r", "type": "rectanglelabels", "value": value, "original_width": 40, "original_height": 32}


def cvat(inside: str, name: str = 'name="a.jpg"') -> str:
    return f"<annotations><image {name}>{inside}</image></annotations>"


BOX = '<box label="y" xtl="1" ytl="2" xbr="8" ybr="9"/>'
BAD = [
    ("labelme", shape(shape_type="circle", points=[["q", 1], [2, 3]]), r"shapes\[0\]: its points are not all numbers"),
    ("labelme", shape(points=[[HUGE, 1], [2, 3]]), r"shapes\[0\]: its points are not all numbers"),
    ("labelme", shape(points=[[1, 2, 3], [2, 3], [3, 4]]), r"shapes\[0\]: its points are not all numbers"),
    ("labelme", shape(points=[["1_0", 2], [2, 3]]), r"shapes\[0\]: its points are not all numbers"),
    *(
        ("labelme", shape(shape_type=kind), r"shapes\[0\]: shape_type .+ is none of LabelMe's; write e\.g\. polygon")
        for kind in (["rectangle"], {"a": 1}, 7, "b\nc")
    ),
    ("labelme", shape().replace("a.jpg", "a\\nb.jpg"), r"'a\\nb.jpg' has a control character or a line break"),
    ("label_studio", task(turned(x=HUGE)), r"task 0, region 0: x is '1000*', not a number; correct it"),
    ("label_studio", task(image="http://[x/a.jpg"), r"task 0: 'http://\[x/a.jpg' is not a URL; correct it"),
    ("cvat", cvat(f'<points points="1,2"/>{BOX}', 'id="1"'), r"image 0 \(''\): '' names no image; write its name"),
    ("openimages", f"{HEADER}a,x\na\n", r"line 3: has no LabelName; complete or remove it"),
    ("openimages", f"LabelName,{HEADER[:-1]},ImageID\nx\n", r"line 2: has no ImageID; complete or remove it"),
]


@pytest.mark.parametrize(("reader", "text", "line"), BAD)
def test_a_bad_file_ends_in_one_line(reader: str, text: str, line: str, tmp_path: Path) -> None:
    put_photo(tmp_path / "a.jpg")
    put(tmp_path / f"bad{ {'cvat': '.xml', 'openimages': '.csv'}.get(reader, '.json') }", text)
    with pytest.raises(InputError, match=line) as caught:
        read(tmp_path, reader)
    assert "\n" not in str(caught.value)


FOREIGN = [
    '{"assets": {"a": 1}}',
    '[{"data": 3}]',
    '[{"data": {"image": "a.jpg"}}]',
    "[1]",
]


@pytest.mark.parametrize("text", FOREIGN)
@pytest.mark.parametrize("reader", ["labelme", "label_studio", "vott"])
def test_files_of_something_else_in_a_folder_stop_nothing(reader: str, text: str, tmp_path: Path) -> None:
    EXPORTS[reader].write(tmp_path)
    expected = boxes_of(read(tmp_path, reader))
    put(tmp_path / "foreign.json", text)
    assert boxes_of(read(tmp_path, reader)) == expected and len(expected) == 5
    with pytest.raises(InputError, match=r"foreign\.json: is not a file of"):
        read(tmp_path, reader, **{reader: {"train": ["foreign.json"]}})


@pytest.mark.parametrize("reader", ["labelme", "label_studio", "vott", "cvat"])
def test_a_file_that_cannot_be_parsed_is_not_taken_for_another(reader: str, tmp_path: Path) -> None:
    EXPORTS[reader].write(tmp_path)
    suffix = SUFFIXES.get(reader, ".json")
    path = sorted(tmp_path.rglob(f"*{suffix}"))[0]
    text = path.read_text()
    put(tmp_path / f"z{suffix}", text)  # a whole one beside it
    contents = [text[: len(text) // 2].encode("utf-16"), b"", text[:1].encode(), b"\0" * len(text), b"# of no kind"]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"not valid JSON|malformed XML") as caught:
            read(tmp_path, reader)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_an_asset_that_two_files_of_vott_hold_is_taken_once(tmp_path: Path) -> None:
    EXPORTS["vott"].write(tmp_path)
    expected = boxes_of(read(tmp_path, "vott"))
    assets = json.loads((tmp_path / "fruit-export.json").read_text())["assets"]
    for key, asset in assets.items():
        put(tmp_path / f"{key}-asset.json", json.dumps(asset))
    dataset = read(tmp_path, "vott")
    assert boxes_of(dataset) == expected and not dataset.findings
    assert "passed over 5 annotations repeated in another file" in dataset.remarks
    changed = {**assets["id-a"], "regions": []}
    put(tmp_path / "id-a-asset.json", json.dumps(changed))
    with pytest.raises(InputError, match=r"a\.jpg and a\.jpg would both be image 'a'; list it once"):
        boxes_of(read(tmp_path, "vott"))


def test_a_fault_of_data_that_are_divided_is_one_line(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        put_photo(tmp_path / f"{name}.jpg")
        put(tmp_path / f"{name}.json", shape(points=[["q", 1], [2, 3]]).replace("a.jpg", f"{name}.jpg"))
    put(tmp_path / "c.json", "{")
    faults = Faults(keep=True)
    overlay = {"reader": "labelme", "split": {"val": 0.3, "test": 0.3}, "labelme": {"train": ["c.json"]}}
    params = type(default_params().dataset).model_validate(apply_overlay(default_content()["dataset"], overlay))
    assert not list(read_dataset(tmp_path, params, faults).images)
    (line,) = faults.lines
    assert line.startswith(f"{tmp_path}/c.json: not valid JSON")


@pytest.mark.parametrize("kind", ["latin-1", "folder"])
def test_descriptions_that_cannot_be_read_end_in_one_line(kind: str, tmp_path: Path) -> None:
    put_photo(tmp_path / "a.jpg")
    put(tmp_path / "a.csv", f"{HEADER}a,x,.1,.1,.5,.5\n")
    path = tmp_path / "class-descriptions.csv"
    if kind == "folder":
        path.mkdir()
    else:
        path.write_bytes("x,b\u00e9b\u00e9\n".encode("latin-1"))
    with pytest.raises(
        InputError, match=r"class-descriptions\.csv: not a readable CSV table of names .*save it as UTF"
    ):
        read(tmp_path, "openimages")


def test_bad_files_do_not_stop_the_recognition_of_others(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 32}]
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}
    for split in ("train", "val"):
        put_photo(tmp_path / split / "a.jpg")
        content = {"images": images, "annotations": [box], "categories": [{"id": 1, "name": "x"}]}
        put(tmp_path / f"annotations/instances_{split}.json", json.dumps(content))
    texts = [text for _, text, _ in BAD]
    texts += [json.dumps([{"data": {"u": "http://[a.b"}}]), task({"id": ["r"], "type": "brush"})]
    suffixes = {"<": ".xml", "{": ".json", "[": ".json"}
    for folder, text in enumerate(texts):
        put(tmp_path / f"note{folder}{suffixes.get(text[0], '.csv')}", text)
        put(tmp_path / f"notes{folder}/note{suffixes.get(text[0], '.csv')}", text)
    assert recognise(tmp_path, default_params().dataset, divides=True).reader == "coco"


@pytest.mark.parametrize("size", [HUGE, float("nan"), float("inf"), True, "40", None, -1])
def test_a_size_that_is_none_is_the_images_own(size: Any, tmp_path: Path) -> None:
    for name in "ab":
        put_photo(tmp_path / f"{name}.jpg")
        content = json.loads(shape())
        put(tmp_path / f"{name}.json", json.dumps({**content, "imagePath": f"{name}.jpg", "imageWidth": size}))
    assert boxes_of(read(tmp_path, "labelme")) == {f"{name}.jpg": [("x", 1, 2, 3, 4)] for name in "ab"}


def test_ids_of_regions_may_be_of_any_type(tmp_path: Path) -> None:
    region = {"id": ["r"], "type": "a\nb", "value": {}}
    put_photo(tmp_path / "a.jpg")
    put_photo(tmp_path / "b.jpg")
    tasks = [json.loads(task(region, image=f"{name}.jpg"))[0] for name in "ab"]
    tasks[0]["annotations"][0]["result"].append({**turned(rotation=0), "id": ["r"]})
    put(tmp_path / "a.json", json.dumps(tasks))
    dataset = read(tmp_path, "label_studio")
    assert [len(boxes) for boxes in boxes_of(dataset).values()] == [1, 0]
    assert "passed over 2 regions of type a b" in dataset.remarks


COORDINATES = [
    ("cvat", cvat('<box label="x" ytl="2" xbr="8" ybr="9"/>'), "x1 of object 0 is missing"),
    ("cvat", cvat('<box label="x" xtl="1_0" ytl="2" xbr="18" ybr="9"/>'), "x1 of object 0 is '1_0', not a number"),
    ("label_studio", task(turned(x=None, rotation=0)), "x of object 0 is missing"),
    ("label_studio", task(turned(x=True, rotation=0)), "x of object 0 is 'True', not a number"),
    ("label_studio", task(turned(x=HUGE, rotation=0)), r"x of object 0 is '10+', not a number"),
    ("openimages", f"{HEADER}a,/m/1,.1,.1,.5\n", "YMax of object 0 is missing"),
]


@pytest.mark.parametrize(("reader", "text", "line"), COORDINATES)
def test_a_side_that_is_missing_or_no_number_is_reported(reader: str, text: str, line: str, tmp_path: Path) -> None:
    put_photo(tmp_path / "a.jpg")
    put(tmp_path / f"bad{SUFFIXES.get(reader, '.json')}", text)
    (record,) = read_tool(TOOLS[reader], tmp_path, {"train": ["./"]}, None).records
    assert re.fullmatch(line, record.non_numeric[0])


def named(*names: str) -> str:
    return f"<annotations>{''.join(f'<image name={json.dumps(name)}>{BOX}</image>' for name in names)}</annotations>"


@pytest.mark.parametrize(
    ("name", "files", "found"),
    [
        ("cam1/a.jpg", ["cam2/a.jpg", "cam1/b.jpg"], None),
        ("cam1/a.jpg", ["cam2/a.jpg"], None),
        ("cam1/a.jpg", ["images/cam1/a.jpg", "images/cam2/a.jpg"], "images/cam1/a.jpg"),
        ("a.jpg", ["cam2/a.jpg"], "cam2/a.jpg"),
        ("../cam1/a.jpg", ["cam1/a.jpg", "cam2/a.jpg"], "cam1/a.jpg"),
        ("/home/me/a.jpg", ["cam2/a.jpg"], "cam2/a.jpg"),
        ("C:\\set\\cam1\\a.jpg", ["cam2/a.jpg", "cam1/b.jpg"], None),
        ("/set/cam1/a.jpg", ["cam1/a.jpg", "set/b.jpg"], "cam1/a.jpg"),
        ("/site1/cam1/a.jpg", ["site1/b.jpg", "site2/cam1/a.jpg"], None),
        ("/home/cam1/a.jpg", ["a.jpg", "cam1/b.jpg"], None),
        ("https://host/x/a.jpg?k=1", ["cam2/a.jpg"], "cam2/a.jpg"),
        ("https://host/cam1/a.jpg", ["cam2/a.jpg", "cam1/b.jpg"], None),
    ],
)
def test_an_image_of_another_folder_is_not_taken(
    name: str, files: list[str], found: str | None, tmp_path: Path
) -> None:
    for file in files:
        put_photo(tmp_path / file)
    put(tmp_path / "annotations.xml", f"<annotations><image name={quoteattr(name)}>{BOX}</image></annotations>")
    (record,) = read_tool(TOOLS["cvat"], tmp_path, {"train": ["./"]}, None).records
    assert (tmp_path / record.file).is_file() == (found is not None)
    assert record.file == (found or record.file)


def test_the_mark_of_an_upload_is_taken_off_without_the_folder(tmp_path: Path) -> None:
    for name in ("cam1/b.jpg", "cam2/a.jpg"):
        put_photo(tmp_path / name)
    put(tmp_path / "tasks.json", task(turned(rotation=0), image="https://host/cam1/0a1b2c3d-a.jpg"))
    (record,) = read_tool(TOOLS["label_studio"], tmp_path, {"train": ["./"]}, None).records
    assert record.file == "cam1/a.jpg"  # which is missing


@pytest.mark.parametrize(
    "data",
    [{"note": "see v1.2", "photo": "NAME"}, {"photo": "NAME", "note": "see v1.2"}, {"u": "http://[a.b", "i": "NAME"}],
)
def test_the_image_of_a_task_is_the_text_that_names_one_and_the_first_may_be_empty(
    data: dict[str, str], tmp_path: Path
) -> None:
    tasks: list[dict[str, Any]] = []
    for name, regions in (("a.jpg", []), ("b.jpg", [turned(rotation=0)["value"]])):
        put_photo(tmp_path / name)
        tasks.append({"id": 1, **{key: text.replace("NAME", name) for key, text in data.items()}, "label": regions})
    put(tmp_path / "min.json", json.dumps(tasks))
    assert [len(boxes) for boxes in boxes_of(read(tmp_path, "label_studio")).values()] == [0, 1]


def test_a_jpg_is_preferred_among_images_of_one_id_and_others_are_refused(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.jpg"):
        put_photo(tmp_path / name)
    put(tmp_path / "a.csv", f"{HEADER}a,x,.1,.1,.5,.5\nb,x,.1,.1,.5,.5\n")
    assert set(boxes_of(read(tmp_path, "openimages"))) == {"a.jpg", "b.jpg"}
    (tmp_path / "a.jpg").rename(tmp_path / "a.bmp")
    with pytest.raises(InputError, match=r"image a: may be a\.bmp or a\.png; keep one of them"):
        read(tmp_path, "openimages")


def test_names_with_a_line_break_are_escaped_in_remarks(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c\nd.jpg"):
        put_photo(tmp_path / name)
    put(tmp_path / "annotations.xml", named("a.jpg", "b.jpg"))
    assert not any("\n" in line for line in read(tmp_path, "cvat").remarks)
