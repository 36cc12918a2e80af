"""Tables as other tools write them: equal to what pandas reads, or refused in one line with the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.datasets.base import Dataset
from pipeline.datasets.faults import Faults
from pipeline.datasets.images import image_size, problems_of
from pipeline.datasets.table import read_table
from pipeline.datasets.validation import validate
from pipeline.runtime.errors import InputError
from tests.datasets.policies import policy

PLAIN = """file,split,class,x1,y1,x2,y2
a.jpg,train,dog,10.5,20,1200,1300.25
a.jpg,train,cat,1,2,30,40
b.jpg,test,cat,0,0,1000.5,999
"""
SPLITS: Any = {"train": ["train"], "test": ["test"]}
Boxes = dict[tuple[str, str], list[list[float]]]


def put(root: Path, text: str | bytes, table: str = "boxes.csv", images: Sequence[str] = ("a.jpg", "b.jpg")) -> None:
    for name in (table, *images):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / table).write_bytes(text.encode() if isinstance(text, str) else text)


def read(root: Path, splits: Any = SPLITS, file: str = "boxes.csv", boxes: str = "xyxy", **changes: str) -> Dataset:
    return validate(read_table(root, splits, file, boxes, None), policy(**changes), lambda _: (2000, 2000))


def by_image(dataset: Dataset) -> Boxes:
    """(File and split) -> class and corners of each box."""
    return {
        (one.file.removeprefix("raw/"), one.split): [
            [label, *box] for label, box in zip(one.labels.tolist(), one.boxes.tolist(), strict=True)
        ]
        for one in dataset.images
    }


def by_pandas(frame: pd.DataFrame) -> Boxes:
    """The same of a frame of columns file, split, class and corners."""
    classes = sorted(frame["class"].dropna().unique())
    expected: Boxes = {}
    for (file, split), own in frame.groupby(["file", "split"]):
        rows = own.dropna(subset=["class"])
        labels = [[float(classes.index(name) + 1)] for name in rows["class"]]
        corners = rows[["x1", "y1", "x2", "y2"]].to_numpy(np.float32).tolist()
        expected[file, split] = [label + box for label, box in zip(labels, corners, strict=True)]
    return expected


def said(dataset: Dataset) -> str:
    return "; ".join(finding.detail for finding in dataset.findings if finding.kind == "table_form")


def test_a_plain_table_has_no_finding(tmp_path: Path) -> None:
    put(tmp_path, PLAIN)
    dataset = read(tmp_path)
    assert by_image(dataset) == by_pandas(pd.read_csv(tmp_path / "boxes.csv")) and not dataset.findings


def _to_semicolons(text: str) -> str:
    return text.replace(",", ";").replace(".5", ",5").replace(".25", ",25")


FORMS: dict[str, tuple[Callable[[str], str], str, dict[str, Any], str]] = {
    "semicolons": (lambda t: t.replace(",", ";"), "utf-8", {"sep": ";"}, "semicolons between columns"),
    "tabs": (lambda t: t.replace(",", "\t"), "utf-8", {"sep": "\t"}, "tabs between columns"),
    "bars": (lambda t: t.replace(",", "|"), "utf-8", {"sep": "|"}, "bars between columns"),
    "decimal commas": (
        _to_semicolons,
        "utf-8",
        {"sep": ";", "decimal": ","},
        "semicolons between columns; decimal commas",
    ),
    "Excel's first line": (
        lambda t: "sep=;\n" + _to_semicolons(t),
        "utf-8-sig",
        {"sep": ";", "decimal": ",", "skiprows": 1},
        "semicolons between columns; decimal commas",
    ),
    "quoted decimal commas": (
        lambda t: t.replace("10.5", '"10,5"').replace("1300.25", '"1300,25"').replace("1000.5", '"1000,5"'),
        "utf-8",
        {"decimal": ","},
        "decimal commas",
    ),
    "thousands": (
        lambda t: t.replace("1300.25", '"1,300.25"').replace("1200", '"1,200"').replace("1000.5", '"1,000.5"'),
        "utf-8",
        {"thousands": ","},
        "marks between thousands",
    ),
    "thousands by points": (
        lambda t: _to_semicolons(t).replace("1300,25", "1.300,25").replace("1200", "1.200"),
        "utf-8",
        {"sep": ";", "decimal": ",", "thousands": "."},
        "semicolons between columns; decimal commas; marks between thousands",
    ),
    "thousands by spaces": (
        lambda t: t.replace("1200", "1 200").replace("1300.25", "1 300.25"),
        "utf-8",
        {"thousands": " "},
        "marks between thousands",
    ),
    "UTF-16": (lambda t: t.replace(",", "\t"), "utf-16", {"sep": "\t"}, "tabs between columns"),
    "UTF-16 without a mark": (lambda t: t, "utf-16-be", {}, ""),
    "byte order mark": (lambda t: t, "utf-8-sig", {}, ""),
    "spaces after commas": (lambda t: t.replace(",", ", "), "utf-8", {"skipinitialspace": True}, ""),
    "carriage returns": (lambda t: t.replace("\n", "\r\n"), "utf-8", {}, ""),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_table_of_another_form_is_read_as_pandas_reads_it(tmp_path: Path, form: str) -> None:
    change, encoding, options, what = FORMS[form]
    text = change(PLAIN.replace("dog", "Hündin"))
    put(tmp_path, text.encode(encoding))
    dataset = read(tmp_path)
    encoding = "utf-8-sig" if encoding == "utf-8" else encoding
    assert by_image(dataset) == by_pandas(pd.read_csv(tmp_path / "boxes.csv", encoding=encoding, **options))
    assert dataset.classes == ("Hündin", "cat")
    if what:
        (finding,) = dataset.findings
        assert (finding.kind, finding.file, finding.action) == ("table_form", "raw/boxes.csv", "read as such")
        assert re.fullmatch(what, finding.detail)
        with pytest.raises(
            InputError, match=r"boxes\.csv: .*; write it as docs/artifacts\.md shows, or set dataset\.find"
        ):
            list(read(tmp_path, table_form="error").images)
    else:
        assert not dataset.findings


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ('a.jpg,train,dog,1,2,"1,234",5', r"x2 of row 1 is '1,234', which may be 1234 or 1\.234; write numbers with"),
        ("a.jpg;train;dog;1;2;1.234;5", r"x2 of row 1 is '1\.234', which may be 1\.234 or 1234; write numbers with"),
    ],
)
def test_numbers_that_can_be_read_in_two_ways_are_refused(tmp_path: Path, rows: str, line: str) -> None:
    header = PLAIN.split("\n")[0]
    put(tmp_path, f"{header.replace(',', ';') if ';' in rows else header}\n{rows}\n")
    with pytest.raises(InputError, match=rf"boxes\.csv: {line} a point for decimals and nothing between thousands"):
        read(tmp_path)


@pytest.mark.parametrize(("of", "example"), [(".", r"30\.500"), (",", "30,500")])
def test_one_cell_does_not_decide_the_decimals_of_a_table(tmp_path: Path, of: str, example: str) -> None:
    numbers = [f"30{of}500", f"31{of}250", f"32{of}750"]
    other = "40,5" if of == "." else "40.5"
    rows = f"a.jpg;train;dog;{numbers[0]};{numbers[1]};{numbers[2]};{other}\n"
    put(tmp_path, PLAIN.split("\n")[0].replace(",", ";") + "\n" + rows)
    with pytest.raises(InputError, match=rf"x1 of row 1 is '{example}', which may be .*; write numbers with a point"):
        read(tmp_path)


def test_three_decimals_with_commas_are_plain_beside_one_that_is(tmp_path: Path) -> None:
    rows = "a.jpg;train;dog;30,500;31,250;132,750;1040,500\n"
    put(tmp_path, PLAIN.split("\n")[0].replace(",", ";") + "\n" + rows)
    assert by_image(read(tmp_path, {"train": ["train"]}))["a.jpg", "train"] == [[1, 30.5, 31.25, 132.75, 1040.5]]


@pytest.mark.parametrize("mark", ["\u202f", "\u00a0", "'", "\u2019", ","])
def test_any_mark_between_thousands_is_none(tmp_path: Path, mark: str) -> None:
    put(tmp_path, PLAIN)
    plain = by_image(read(tmp_path))
    put(tmp_path, PLAIN.replace("1200", f'"1{mark}200"').replace("1300.25", f'"1{mark}300.25"'))
    assert by_image(read(tmp_path)) == plain


def test_a_number_of_three_decimals_is_plain_among_commas(tmp_path: Path) -> None:
    put(tmp_path, PLAIN.replace("10.5", "1.234").replace("1300.25", "1300").replace("1000.5", "1000"))
    assert by_image(read(tmp_path))["a.jpg", "train"][0][1] == np.float32(1.234)


def test_one_decimal_comma_among_points_is_a_word_for_a_number(tmp_path: Path) -> None:
    put(tmp_path, PLAIN.replace("10.5", '"10,5"'))
    dataset = read(tmp_path, non_numeric="drop")
    list(dataset.images)
    assert [(f.kind, f.object, f.detail) for f in dataset.findings] == [
        ("non_numeric", 0, "x1 of row 1 is '10,5', not a number")
    ]


HEADERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "TensorFlow, Roboflow": (
        "filename,width,height,class,xmin,ymin,xmax,ymax,split",
        "a.jpg,2000,2000,dog,1,2,30,40,train",
        {"filename": "file", "xmin": "x1", "ymin": "y1", "xmax": "x2", "ymax": "y2"},
    ),
    "VoTT": (
        '"image","xmin","ymin","xmax","ymax","label","split"',
        '"a.jpg",1.5,2,30,40,"dog","train"',
        {"image": "file", "label": "class", "xmin": "x1", "ymin": "y1", "xmax": "x2", "ymax": "y2"},
    ),
    "corners": (
        "Image Path,Left,Top,Right,Bottom,Category,Set",
        "a.jpg,1,2,30,40,dog,train",
        {
            **{"Image Path": "file", "Category": "class", "Set": "split"},
            **{"Left": "x1", "Top": "y1", "Right": "x2", "Bottom": "y2"},
        },
    ),
    "from 0": (
        "img_name,x0,y0,x1,y1,label_name,subset",
        "a.jpg,1,2,30,40,dog,train",
        {
            **{"img_name": "file", "label_name": "class", "subset": "split"},
            **{"x0": "x1", "y0": "y1", "x1": "x2", "y1": "y2"},
        },
    ),
    "capitals": ("File,Split,Class,X1,Y1,X2,Y2", "a.jpg,train,dog,1,2,30,40", {}),
}


@pytest.mark.parametrize("tool", HEADERS)
def test_usual_headers_are_taken_for_the_documented_ones(tmp_path: Path, tool: str) -> None:
    header, row, names = HEADERS[tool]
    put(tmp_path, f"{header}\n{row}\n{row.replace('a.jpg', 'b.jpg').replace('train', 'test')}\n")
    dataset = read(tmp_path)
    frame = pd.read_csv(tmp_path / "boxes.csv").rename(columns=names)
    frame.columns = [name.lower() for name in frame.columns]
    assert by_image(dataset) == by_pandas(frame)
    for name, role in names.items():
        assert f"{name} as {role}" in said(dataset)


@pytest.mark.parametrize(("second", "is_box"), [("20,30,7,8", True), ("29,38,500,500", True), ("2000,2000,7,8", False)])
def test_the_documented_width_and_height_count_before_w_and_h(tmp_path: Path, second: str, is_box: bool) -> None:
    first = "2000,2000,5,6" if not is_box else "29,38,5,6"
    put(
        tmp_path,
        f"file,split,class,x,y,width,height,w,h\na.jpg,train,dog,1,2,{first}\na.jpg,train,dog,3,4,{second}\n",
    )
    (image,) = read(tmp_path, {"train": ["train"]}).images
    sides = (image.boxes[:, 2:] - image.boxes[:, :2]).tolist()
    expected = [[float(number) for number in row.split(",")] for row in (first, second)]
    assert sides == [row[:2] if is_box else row[2:] for row in expected]


SIDES = {
    "the image's, as of TensorFlow": (
        "filename,split,label,xmin,ymin,xmax,ymax,width,height",
        "1,2,30,40,2000,2000",
        True,
    ),
    "the boxes' beside corners": ("filename,split,label,xmin,ymin,xmax,ymax,width,height", "1,2,30,40,29,38", False),
    "the boxes' of inclusive corners": (
        "filename,split,label,xmin,ymin,xmax,ymax,width,height",
        "1,2,30,40,30,39",
        False,
    ),
    "the image's beside w and h": ("filename,split,label,x,y,w,h,width,height", "1,2,29,38,2000,2000", True),
    "the boxes' beside w and h": ("filename,split,label,x,y,w,h,width,height", "1,2,29,38,29,38", False),
    "the image's beside bbox_width": (
        "label_name,split,filename,bbox_x,bbox_y,bbox_width,bbox_height,width,height",
        "1,2,29,38,2000,2000",
        True,
    ),
    "the boxes' and the image's": (
        "filename,split,label,x,y,width,height,image_width,image_height",
        "1,2,29,38,2000,2000",
        True,
    ),
}


@pytest.mark.parametrize(("header", "row", "of_image"), SIDES.values(), ids=SIDES)
def test_width_and_height_are_the_images_or_the_boxes_by_header_and_numbers(
    tmp_path: Path, header: str, row: str, of_image: bool
) -> None:
    start = "dog,train,a.jpg" if header.startswith("label") else "a.jpg,train,dog"
    put(tmp_path, f"{header}\n{start},{row}\n")
    dataset = read(tmp_path, {"train": ["train"]})
    assert by_image(dataset) == {("a.jpg", "train"): [[1, 1, 2, 30, 40]]}
    assert ("image_width" in said(dataset) or "image_width" in header) == of_image
    assert ("width and height as the boxes', and not the images'" in said(dataset)) == (not of_image)
    put(tmp_path, f"{header}\n{start},{row.replace('2000', '1999')}\n")
    if of_image:  # which is compared with the image
        with pytest.raises(InputError, match="the annotation says 1999 x 1999 px"):
            list(read(tmp_path, {"train": ["train"]}).images)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("file,split,class,x,y,width,height", "a.jpg,train,dog,1,2,29,38"),
        ("filename,split,label,left,top,w,h", "a.jpg,train,dog,1,2,29,38"),
        ("file,split,class,bbox_x,bbox_y,bbox_width,bbox_height", "a.jpg,train,dog,1,2,29,38"),
        ("file,split,class,xmin,ymin,width,height", "a.jpg,train,dog,1,2,29,38"),
    ],
)
def test_columns_of_a_corner_and_sides_are_read_as_such(tmp_path: Path, header: str, row: str) -> None:
    put(tmp_path, f"{header}\n{row}\n")
    for boxes in ("xyxy", "xywh"):
        dataset = read(tmp_path, {"train": ["train"]}, boxes=boxes)
        assert by_image(dataset) == {("a.jpg", "train"): [[1, 1, 2, 30, 40]]}
        assert ("not as dataset.table.boxes says" in said(dataset)) == (boxes == "xyxy")


def test_sides_of_the_image_are_checked_where_tensorflow_writes_them(tmp_path: Path) -> None:
    header, row, _ = HEADERS["TensorFlow, Roboflow"]
    put(tmp_path, f"{header}\n{row.replace('2000,2000', '640,480')}\n")
    with pytest.raises(InputError, match="the annotation says 640 x 480 px"):
        list(read(tmp_path, {"train": ["train"]}).images)
    put(tmp_path, "file,split,class,x1,y1,x2,y2,width,height\na.jpg,train,dog,1,2,30,40,29,38\n")
    assert not read(tmp_path, {"train": ["train"]}).findings  # a column of this project's tables that is not read


@pytest.mark.parametrize(
    ("rows", "sides"),
    [
        ("a.jpg,1,2,30,40,dog\na.jpg,5,6,70,80,cat\nb.jpg,,,,,\n", 6),
        ("b.jpg,,,,,\na.jpg,1,2,30,40,dog\na.jpg,5,6,70,80,cat\n", 6),
        ("a.jpg,1,2,30,40,dog,2000,2000\na.jpg,5,6,70,80,cat,2000,2000\nb.jpg,,,,,,2000,2000\n", 8),
        ("a.jpg;1,5;2;30;40;dog\na.jpg;5;6;70;80;cat\nb.jpg;;;;;\n", 6),
    ],
)
def test_a_table_without_a_header_is_that_of_keras_retinanet(tmp_path: Path, rows: str, sides: int) -> None:
    put(tmp_path, rows, "train.csv")
    put(tmp_path, rows.replace("a.jpg", "c.jpg").replace("b.jpg", "d.jpg"), "val.csv", ["c.jpg", "d.jpg"])
    dataset = read(tmp_path, {"train": ["train.csv"], "test": ["val.csv"]})
    options: dict[str, Any] = {"sep": ";", "decimal": ","} if ";" in rows else {}
    names = ["file", "x1", "y1", "x2", "y2", "class", "w", "h"][:sides]
    frames = [
        pd.read_csv(tmp_path / f"{name}.csv", names=names, **options).assign(split=split)
        for name, split in (("train", "train"), ("val", "test"))
    ]
    assert by_image(dataset) == by_pandas(pd.concat(frames))
    assert "no header, so columns are file, x1, y1, x2, y2, class" in said(dataset)


@pytest.mark.parametrize("rows", ["a.jpg,dog,1,2,30,40,x\n", "a.jpg,dog,1,2,30,40\n", "a.jpg,1,2\n"])
def test_another_table_without_a_header_is_refused(tmp_path: Path, rows: str) -> None:
    put(tmp_path, rows)
    with pytest.raises(
        InputError, match=r"boxes\.csv: has no header, and its rows are not image, x1, y1, x2, y2, class; wr"
    ):
        read(tmp_path)


def test_the_image_beside_a_table_counts_before_one_of_its_name_in_the_root(tmp_path: Path) -> None:
    for folder in ("train/", "test/"):
        rows = "filename,class,xmin,ymin,xmax,ymax\na.jpg,dog,1,2,30,40\n"
        put(tmp_path, rows, f"{folder}boxes.csv", [f"{folder}a.jpg", "a.jpg"])
    dataset = read(tmp_path, {"train": ["train/boxes.csv"], "test": ["test/boxes.csv"]})
    assert {image.file for image in dataset.images} == {"raw/train/a.jpg", "raw/test/a.jpg"}


@pytest.mark.parametrize("place", ["", "train/", "deep/train/"])
def test_a_table_a_split_with_its_images_beside_it(tmp_path: Path, place: str) -> None:
    test = place.replace("train", "test") or "t/"
    for folder, name in ((place, "a.jpg"), (test, "b.jpg")):
        rows = f"filename,width,height,class,xmin,ymin,xmax,ymax\n{name},2000,2000,dog,1,2,30,40\n"
        put(tmp_path, rows, f"{folder}_annotations.csv", [f"{folder}{name}"])
    splits = {"train": [f"{place}_annotations.csv"], "test": [f"{test}_annotations.csv"]}
    dataset = read(tmp_path, splits)
    box = [[1, 1, 2, 30, 40]]
    assert by_image(dataset) == {(f"{place}a.jpg", "train"): box, (f"{test}b.jpg", "test"): box}
    assert {finding.kind for finding in dataset.findings} == {"table_form"}


def test_an_image_of_two_tables_is_in_two_splits(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg,1,2,30,40,dog\nb.jpg,1,2,30,40,dog\n", "train.csv")
    put(tmp_path, "b.jpg,1,2,30,40,dog\n", "test.csv")
    with pytest.raises(InputError, match="image 'b' is both in train and in test"):
        list(read(tmp_path, {"train": ["train.csv"], "test": ["test.csv"]}).images)
    (tmp_path / "test.csv").write_text("file,x,y,width,height,class\nb.jpg,1,2,30,40,dog\n")
    with pytest.raises(
        InputError, match=r"test\.csv: has boxes as x, y, width, height, and train\.csv as x1, y1, x2, y2"
    ):
        read(tmp_path, {"train": ["train.csv"], "test": ["test.csv"]})


def test_without_a_split_the_ways_to_one_are_named(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg,1,2,30,40,dog\n")
    with pytest.raises(
        InputError, match=r"no column 'split'; write one, name a table for each .*dataset\.split to \{val: \.1"
    ):
        read(tmp_path)


def test_all_rows_of_a_table_without_splits_can_be_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg,1,2,30,40,dog\nb.jpg,1,2,30,40,dog\n")
    box = [[1, 1, 2, 30, 40]]
    assert by_image(read(tmp_path, {"train": ["./"]})) == {(f"{n}.jpg", "train"): box for n in "ab"}


def test_an_unknown_header_names_what_is_there(tmp_path: Path) -> None:
    put(tmp_path, "ImageID,LabelName,XMin,XMax,YMin,YMax\nab12,/m/01,0.1,0.2,0.3,0.4\n")
    with pytest.raises(
        InputError, match=r"no column 'file'; it needs file, split, .* and has 'ImageID', 'LabelName', 'XM"
    ):
        read(tmp_path)


def test_a_header_of_odd_characters_stays_in_one_line(tmp_path: Path) -> None:
    put(tmp_path, 'file,split,"la\nbel",x\0 1,y1,x2,y2\na.jpg,train,dog,1,2,30,40\n')
    dataset = read(tmp_path, {"train": ["train"]})
    assert len(list(dataset.images)) == 1 and "la\\nbel as class, x\\x00 1 as x1" in said(dataset)


def test_shares_of_the_image_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "file,split,class,x1,y1,x2,y2\na.jpg,train,dog,0.1,0.2,0.5,1\n")
    with pytest.raises(InputError, match=r"boxes\.csv: its boxes are shares of the image, the largest is 1; multiply"):
        read(tmp_path)
    put(tmp_path, "file,split,class,x1,y1,x2,y2\na.jpg,train,dog,0,0,1,1\n")
    assert by_image(read(tmp_path, {"train": ["train"]}))["a.jpg", "train"] == [[1, 0, 0, 1, 1]]


@pytest.mark.parametrize("largest", ["1.0002", "1.5", "1"])
def test_shares_that_are_a_little_over_1_are_refused_too(tmp_path: Path, largest: str) -> None:
    put(tmp_path, f"file,split,class,x1,y1,x2,y2\na.jpg,train,dog,0.1,0.2,0.5,{largest}\n")
    with pytest.raises(InputError, match=rf"its boxes are shares of the image, the largest is {largest}; multiply"):
        read(tmp_path)


@pytest.mark.parametrize("corners", ["0.5,0.5,1.5,1.5", "0.5,0.5,2,2", "0.1,0.2,0.5,40"])
def test_small_boxes_in_px_are_no_shares(tmp_path: Path, corners: str) -> None:
    put(tmp_path, f"file,split,class,x1,y1,x2,y2\na.jpg,train,dog,{corners}\n")
    expected = [1, *np.array(corners.split(","), np.float32).tolist()]
    assert by_image(read(tmp_path, {"train": ["train"]}))["a.jpg", "train"] == [expected]


@pytest.mark.parametrize(
    ("number", "name"),
    [("label", "label_name"), ("Category", "Category Name"), ("cls", "className"), ("label", "object_name")],
)
@pytest.mark.parametrize("turn", [1, -1])
def test_names_of_classes_come_before_their_numbers(tmp_path: Path, number: str, name: str, turn: int) -> None:
    header, cells = [number, name][::turn], ["3", "cat"][::turn]
    put(tmp_path, f"file,split,x1,y1,x2,y2,{','.join(header)}\na.jpg,train,1,2,30,40,{','.join(cells)}\n")
    assert read(tmp_path, {"train": ["train"]}).classes == ("cat",)


def test_columns_and_rows_that_spreadsheets_leave_empty_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "".join(f"{line};;\n" for line in PLAIN.replace(",", ";").split()) + ";" * 8 + "\n" + ";" * 8 + "\n")
    dataset = read(tmp_path)
    assert by_image(dataset) == by_pandas(pd.read_csv(tmp_path / "boxes.csv", sep=";"))
    assert {finding.kind for finding in dataset.findings} == {"table_form"}


@pytest.mark.parametrize("flag", ["0.0", "1.0", "0", "1", "", "False", "TRUE"])
def test_flags_may_be_what_pandas_makes_of_them(tmp_path: Path, flag: str) -> None:
    put(tmp_path, f"file,split,class,x1,y1,x2,y2,difficult,is_crowd\na.jpg,train,dog,1,2,30,40,{flag},{flag}\n")
    image = next(read(tmp_path, {"train": ["train"]}).images)
    expected = flag in ("1.0", "1", "TRUE")
    assert image.difficult.tolist() == image.iscrowd.tolist() == [expected]


@pytest.mark.parametrize("score", ["score", "confidence"])
def test_scores_are_said_to_be_those_of_detections(tmp_path: Path, score: str) -> None:
    header, rows = f"file,split,class,x1,y1,x2,y2,{score}\n", "a.jpg,train,dog,1,2,30,40,{}\n"
    put(tmp_path, header + rows.format(0.8) + rows.format(1) + rows.format(""))
    findings = read(tmp_path, {"train": ["train"]}, duplicate_box="keep").findings
    dataset = read(tmp_path, {"train": ["train"]})
    list(dataset.images)
    assert dataset.findings[0].kind != "duplicate_box" and not findings
    assert [f.detail for f in dataset.findings if f.kind == "scores"] == [
        "1 of 3 rows have a score, as detections have and ground truth has not"
    ]
    put(tmp_path, header + rows.format(1) + rows.format(1.0))
    dataset = read(tmp_path, {"train": ["train"]})
    list(dataset.images)
    assert "scores" not in {f.kind for f in dataset.findings}


@pytest.mark.parametrize(
    "name", ["/home/me/set/p/a.jpg", "D:\\set\\p\\a.jpg", "p\\a.jpg", "{root}/p/a.jpg", "images\\p\\a.jpg", "p/a.jpg"]
)
def test_names_of_other_systems_are_the_files_that_are_meant(tmp_path: Path, name: str) -> None:
    images = "images/p/a.jpg" if name.startswith("images") else "p/a.jpg"
    rows = f"{name.format(root=tmp_path)},train,dog,1,2,30,40\n{images},train,cat,1,2,30,40\n"
    put(tmp_path, "file,split,class,x1,y1,x2,y2\n" + rows, images=[images])
    dataset = read(tmp_path, {"train": ["train"]})
    assert by_image(dataset) == {(images, "train"): [[2, 1, 2, 30, 40], [1, 1, 2, 30, 40]]}
    findings = [(f.kind, f.action) for f in dataset.findings]
    assert findings == ([] if name == "p/a.jpg" else [("file_name", f"read as {images}")])


def test_names_without_their_folder_are_found_in_images(tmp_path: Path) -> None:
    put(tmp_path, "file,split,class,x1,y1,x2,y2\na.jpg,train,dog,1,2,30,40\n", images=["images/a.jpg"])
    dataset = read(tmp_path, {"train": ["train"]})
    assert by_image(dataset) == {("images/a.jpg", "train"): [[1, 1, 2, 30, 40]]}
    assert [(f.kind, f.action) for f in dataset.findings] == [("file_name", "read as images/a.jpg")]


def test_parts_of_parquet_are_one_table(tmp_path: Path) -> None:
    put(tmp_path, PLAIN)
    frame = pd.read_csv(tmp_path / "boxes.csv")
    for number, rows in enumerate((frame[:1], frame[1:1], frame[1:])):
        (tmp_path / "parts").mkdir(exist_ok=True)
        rows.to_parquet(tmp_path / f"parts/part-{number}.parquet")
    (tmp_path / "parts/_SUCCESS").touch()
    dataset = read(tmp_path, file="parts")
    assert by_image(dataset) == by_pandas(pd.read_parquet(tmp_path / "parts")) and not dataset.findings
    frame.to_parquet(tmp_path / "hive", partition_cols=["split"])
    assert by_image(read(tmp_path, file="hive")) == by_pandas(frame)
    both = {"train": ["hive/split=train/"], "test": ["hive/split=test/"]}
    assert by_image(read(tmp_path, both)) == by_pandas(frame)


def test_parts_of_other_columns_and_none_are_refused(tmp_path: Path) -> None:
    put(tmp_path, PLAIN)
    frame = pd.read_csv(tmp_path / "boxes.csv")
    (tmp_path / "parts").mkdir()
    with pytest.raises(InputError, match=r"parts: holds no Parquet file; set dataset\.table\.file to a table below"):
        read(tmp_path, file="parts")
    frame.to_parquet(tmp_path / "parts/0.parquet")
    frame.assign(difficult=1).to_parquet(tmp_path / "parts/1.parquet")
    with pytest.raises(
        InputError, match=r"1\.parquet: has other columns than 0\.parquet \(difficult\); give all the same"
    ):
        read(tmp_path, file="parts")
    frame.drop(columns="x1").to_parquet(tmp_path / "parts/1.parquet")
    with pytest.raises(InputError, match=r"1\.parquet: has other columns than 0\.parquet"):
        read(tmp_path, file="parts")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (PLAIN.replace("dog", "Hündin").encode("cp1252"), r"boxes\.csv: is not UTF-8 text .*; save it as CSV in UTF-8"),
        (PLAIN.replace("class", "größe").encode("cp1252"), r"boxes\.csv: is not UTF-8 text .*; save it as CSV"),
        (b"PK\x03\x04...", r"boxes\.csv: is an Excel workbook; save its sheet as CSV, in UTF-8"),
    ],
)
def test_other_encodings_and_workbooks_are_refused(tmp_path: Path, content: bytes, line: str) -> None:
    put(tmp_path, content)
    with pytest.raises(InputError, match=line):
        read(tmp_path)


TABLES = {"table_semicolon": {"table_form"}, "leak": {"same_content_in_train_and_test"}, "classes_digits": set[str]()}


@pytest.mark.parametrize("name", TABLES)
def test_files_of_real_users_are_read_as_pandas_reads_them(shared: Path, name: str) -> None:
    root = shared / "data/trouble" / name
    options: Any = {"sep": ";", "decimal": ","} if name == "table_semicolon" else {}
    frame = pd.read_csv(root / "boxes.csv", dtype={"class": str}, **options)
    data = read_table(root, SPLITS, "boxes.csv", "xyxy", None, Faults())
    dataset = validate(data, policy(), image_size, problems_of)
    assert by_image(dataset) == by_pandas(frame)
    assert {finding.kind for finding in dataset.findings} == TABLES[name]
