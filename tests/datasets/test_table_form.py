"""Tables as other tools write them: equal to what pandas reads, or refused in one line with the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.datasets.faults import Faults
from pipeline.datasets.images import image_size, problems_of
from pipeline.datasets.table import read_table
from pipeline.datasets.validation import validate
from pipeline.runtime.errors import InputError
from tests.datasets.policies import policy
from tests.datasets.tables import PLAIN, SPLITS, by_image, by_pandas, put, read, said


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


def test_columns_and_rows_that_spreadsheets_leave_empty_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "".join(f"{line};;\n" for line in PLAIN.replace(",", ";").split()) + ";" * 8 + "\n" + ";" * 8 + "\n")
    dataset = read(tmp_path)
    assert by_image(dataset) == by_pandas(pd.read_csv(tmp_path / "boxes.csv", sep=";"))
    assert {finding.kind for finding in dataset.findings} == {"table_form"}


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
