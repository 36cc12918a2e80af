"""`frcnn split` from the command line: what it writes, and that a run divides the same."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from pipeline.datasets.reading import read_dataset
from pipeline.datasets.splitting.dividing import split_table
from pipeline.params.file import load_params
from tests.datasets.splitting.undivided import params, plant
from tests.defaults import copy_graphs, write_default_params
from tests.in_process import run_frcnn

SHARES = ["--val", ".1", "--test", ".2", "--preset", "default", "--set", "dataset.reader=table"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with default parameters, and photos without splits in photos/."""
    plant("table", tmp_path / "photos")
    copy_graphs(tmp_path)
    write_default_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_file_holds_what_a_run_divides_and_the_data_are_left_alone(folder: Path) -> None:
    before = {path: path.read_bytes() for path in (folder / "photos").iterdir()}
    result = run_frcnn(folder, "split", "photos", *SHARES)
    assert result.returncode == 0, result.stderr
    expected = split_table(read_dataset(folder / "photos", params("table", val=0.1, test=0.2)).division)
    assert (folder / "split.csv").read_text() == expected
    assert {path: path.read_bytes() for path in (folder / "photos").iterdir()} == before
    lines = result.stdout.splitlines()
    assert [line.split() for line in lines[2:4]] == [["train", "val", "test"], ["images", "7", "1", "2"]]
    per_class = {words[1]: list(map(int, words[2:])) for words in map(str.split, lines) if words[0] == "with"}
    assert [*map(sum, per_class.values())] == [5, 5] and [own[2] for own in per_class.values()] == [1, 1]
    (command,) = [line.removeprefix("to train on it: ") for line in lines if line.startswith("to train on it: ")]
    assert run_frcnn(folder, *shlex.split(command)[1:]).returncode == 0
    written = load_params(folder / "params.yaml").dataset
    assert split_table(read_dataset(folder / "data/raw", written).division) == expected


def test_other_options_divide_otherwise(folder: Path) -> None:
    assert (
        run_frcnn(folder, "split", "photos", *SHARES, "--seed", "3", "--group", "p([0-4])", "--no-near").returncode == 0
    )
    own = params("table", val=0.1, test=0.2, seed=3, group="p([0-4])", near=False)
    assert (folder / "split.csv").read_text() == split_table(read_dataset(folder / "photos", own).division)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["photos", "--set", "dataset.reader=table"], "give the shares, --val or --test, e.g. --val .1 --test .2"),
        (["photos", *SHARES, "--out", "photos/split.csv"], "--out photos/split.csv: lies in the data"),
        (["photos", *SHARES, "--out", "split.txt"], "--out split.txt: give a file name that ends in .csv"),
        (["photos", "--val", ".6", "--test", ".6", "--set", "dataset.reader=table"], "leave train a share"),
        (["--test", ".2"], "data/raw: no such folder"),
        (["nowhere", *SHARES], "nowhere: no such folder"),
    ],
)
def test_what_is_refused_is_refused_in_one_line(folder: Path, words: list[str], line: str) -> None:
    result = run_frcnn(folder, "split", *words)
    assert result.returncode == 1
    assert line in result.stderr and len(result.stderr.strip().splitlines()) == 1
    assert not (folder / "split.csv").exists()
