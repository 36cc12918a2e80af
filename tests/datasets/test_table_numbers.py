"""Numbers of a table: decimal commas, marks between thousands, and shares of the image in place of pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.runtime.errors import InputError
from tests.datasets.tables import PLAIN, by_image, put, read


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
