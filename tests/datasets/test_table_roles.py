"""Headers of other tools: which column is the file, the class, the box and the size of the image."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipeline.runtime.errors import InputError
from tests.datasets.tables import by_image, by_pandas, put, read, said

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


@pytest.mark.parametrize(
    ("number", "name"),
    [("label", "label_name"), ("Category", "Category Name"), ("cls", "className"), ("label", "object_name")],
)
@pytest.mark.parametrize("turn", [1, -1])
def test_names_of_classes_come_before_their_numbers(tmp_path: Path, number: str, name: str, turn: int) -> None:
    header, cells = [number, name][::turn], ["3", "cat"][::turn]
    put(tmp_path, f"file,split,x1,y1,x2,y2,{','.join(header)}\na.jpg,train,1,2,30,40,{','.join(cells)}\n")
    assert read(tmp_path, {"train": ["train"]}).classes == ("cat",)
