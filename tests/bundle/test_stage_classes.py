"""The folder of a dataset stage that somebody judges on, with a classes.json that is not that of its tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.bundle.evaluate import is_of_stage, open_dataset
from pipeline.runtime.errors import InputError
from tests.datasets.splitting.undivided import overlay, params, plant
from tests.in_process import run_stage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The tables of ten images of cats and dogs."""
    plant("voc", tmp_path / "raw")
    return run_stage("dataset", tmp_path, params={"dataset": overlay("voc", test=0.2)}, raw=tmp_path / "raw")


def test_the_tables_of_a_stage_are_read(folder: Path) -> None:
    data = open_dataset(folder, params("voc"))
    assert data.classes == ("cat", "dog") and len(list(data.images)) == 10


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("", "not valid JSON (Expecting value"),
        ('["background", "ca', "not valid JSON (Unterminated string"),
        ("\xff\xfe", "not valid JSON ('utf-8' codec"),
        ("[" * 100_000, "not valid JSON (maximum recursion depth"),
        ("{}", "is not a list of class names with background first"),
        ("[]", "is not a list of class names with background first"),
        ('["cat", "dog"]', "is not a list of class names with background first"),
        ('["background", 1]', "is not a list of class names with background first"),
        ('["background", {"id": 1, "name": "cat"}]', "is not a list of class names with background first"),
        ('["background"]', "names no class"),
        ('["background", "cat"]', "names 1 class, and boxes.parquet has label 2"),
    ],
)
def test_a_faulty_list_of_classes_is_one_line(folder: Path, content: str | None, expected: str) -> None:
    file = folder / "classes.json"
    file.unlink()
    if content is not None:
        file.write_bytes(content.encode("latin-1"))
    assert is_of_stage(folder)  # else its tables would be taken for a data set's
    with pytest.raises(InputError) as caught:
        list(open_dataset(folder, params("voc")).images)
    line = str(caught.value)
    assert line.startswith(f"{file}: {expected}") and line.endswith("; run the dataset stage again")
    assert "\n" not in line and len(line) < 400


def test_classes_of_other_names_are_taken_as_they_are(folder: Path) -> None:
    (folder / "classes.json").write_text(json.dumps(["background", "a", "b", "c"]))
    assert open_dataset(folder, params("voc")).classes == ("a", "b", "c")
