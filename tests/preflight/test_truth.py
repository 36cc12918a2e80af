"""What check-data passes, runs; what it refuses, the stages refuse: on odd data sets, spoiled ones, damaged images."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.params.dataset import FindingPolicy
from pipeline.preflight.command import check_data
from tests.conftest import ROOT
from tests.datasets.image_files import samples
from tests.faults.annotation_fuzzer import spoil
from tests.faults.image_fuzzer import mutate
from tests.faults.trees import IMAGES, KINDS, annotation_files, plant
from tests.preflight.three_stages import assert_truth, passes, write_params

TROUBLE = ROOT.parent / "shared/data/trouble"
PLANTED: dict[str, dict[str, Any]] = {
    "voc": {"train": ["train"], "test": ["test"]},
    "coco": {"train": ["train.json"], "test": ["test.json"]},
    "kitti": {"train": ["train"], "test": ["test"], "classes": None},
    "yolo": {"train": ["images/train"], "test": ["images/test"]},
    "table": {"train": ["train"], "test": ["test"]},
}
# What a folder's README or its files ask for, apart from the reader, which its name tells.
_SETTINGS: dict[str, dict[str, Any]] = {
    "yolo_list_absolute": {"yolo": {"train": ["train.txt"], "test": ["val.txt"]}},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _trouble() -> list[str]:
    folders = sorted(TROUBLE.iterdir()) if TROUBLE.is_dir() else []
    return [path.name for path in folders if path.is_dir() and path.name[0] != "_" and path.name != "images"]


@pytest.mark.skipif(not TROUBLE.is_dir(), reason="../shared/data/trouble is absent")
def test_odd_data_sets_pass_exactly_where_the_stages_run(folder: Path) -> None:
    outcomes = []
    for name in _trouble():
        kind = name.partition("_")[0]
        reader = kind if kind in KINDS else "table"
        write_params(folder, {"dataset": {"reader": reader, **_SETTINGS.get(name, {})}})
        outcomes.append(assert_truth(TROUBLE / name, folder))
    assert any(outcomes) and not all(outcomes)


def _spoiled(case: int, folder: Path) -> Path:
    """A planted data set, one of whose files is spoiled, and params.yaml with policies of the case."""
    rng = random.Random(case)
    kind = KINDS[case % len(KINDS)]
    root = plant(kind, folder / f"case{case}")
    path = root / rng.choice(annotation_files(kind))
    path.write_bytes(spoil(rng, path.read_bytes()))
    actions = {name: rng.choice(FindingPolicy.allowed(name)) for name in FindingPolicy.model_fields}
    write_params(folder, {"dataset": {"reader": kind, kind: PLANTED[kind], "findings": actions}})
    return root


def _damaged(case: int, folder: Path, files: list[bytes]) -> Path:
    """A planted data set, one of whose images is a mutated file."""
    rng = random.Random(case)
    kind = KINDS[case % len(KINDS)]
    root = plant(kind, folder / f"case{case}")
    (root / rng.choice(IMAGES[kind])).write_bytes(mutate(files, 1, case))
    mild = {"size_differs": "fix", "undecodable": rng.choice(["error", "drop"])}
    write_params(folder, {"dataset": {"reader": kind, kind: PLANTED[kind], "findings": mild}})
    return root


def _cases(first: int, count: int, folder: Path) -> Iterator[bool]:
    files = [data for data in samples().values() if len(data) < 100_000]
    for case in range(first, first + count):
        yield assert_truth(_spoiled(case, folder), folder)
        yield assert_truth(_damaged(case, folder, files), folder)


def test_spoiled_data_sets_pass_exactly_where_the_stages_run(folder: Path) -> None:
    outcomes = list(_cases(0, 12, folder))
    assert any(outcomes) and not all(outcomes)


@pytest.mark.long
def test_a_thousand_spoiled_data_sets_pass_exactly_where_the_stages_run(folder: Path) -> None:
    outcomes = list(_cases(12, 1000, folder))
    assert any(outcomes) and not all(outcomes)


@pytest.mark.parametrize("policy", ["error", "drop"])
def test_damage_inside_an_image_that_its_header_hides_is_found(folder: Path, policy: str) -> None:
    root = plant("table", folder / "data")
    write_params(folder, {"dataset": {"reader": "table", "findings": {"undecodable": policy}}})
    noise = np.random.default_rng(0).integers(256, size=(80, 100, 3), dtype=np.uint8)
    content = bytearray(cv2.imencode(".png", noise)[1].tobytes())
    content[2000:4000] = bytes(2000)
    (root / "a.png").write_bytes(content)
    passed, said = passes(root, folder)
    assert not passed and "a.png: cannot be decoded as an image; replace the file or drop it" in said
    assert not assert_truth(root, folder)
    lines: list[str] = []
    assert check_data(root, None, folder / "data-check.png", lines.append, decode=False)
    assert "images were not decoded" in lines[-1]


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 2)])
def test_an_image_of_a_pixel_or_a_line_is_no_fault(folder: Path, size: tuple[int, int]) -> None:
    root = plant("table", folder / "data")
    cv2.imwrite(str(root / "a.png"), np.zeros((*size, 3), np.uint8))
    (root / "boxes.csv").write_text(
        f"file,split,class,x1,y1,x2,y2\na.png,train,dog,0,0,{size[1]},{size[0]}\nb.png,train,dog,1,1,50,50\n"
        "c.png,test,dog,1,1,50,50\n"
    )
    cv2.imwrite(str(root / "c.png"), np.full((80, 100, 3), 9, np.uint8))
    write_params(folder, {"dataset": {"reader": "table"}})
    assert assert_truth(root, folder)
