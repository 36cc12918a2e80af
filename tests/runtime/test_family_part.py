"""Parts of families, found by the names that a command gives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from pipeline import families
from pipeline.runtime.errors import InputError
from pipeline.runtime.family_part import family_part
from tests.conftest import ROOT
from tests.in_process import run_command


def test_a_part_is_the_module_of_the_stages_name_in_the_familys_folder() -> None:
    part = family_part("faster_rcnn", "evaluate")
    assert part is not None and part.__name__ == "pipeline.families.faster_rcnn.evaluate"


def test_a_part_that_is_not_there_is_named_with_its_file_unless_it_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/__init__.py").touch()
    with patch.object(families, "__path__", [*families.__path__, str(tmp_path)]):
        assert family_part("bare", "evaluate", optional=True) is None
        with pytest.raises(
            InputError, match=r"--family bare: has no part .*; write pipeline/families/bare/evaluate\.py"
        ):
            family_part("bare", "evaluate")


def test_all_that_is_loaded_where_a_family_has_no_part_is_in_the_lock() -> None:
    """In a process of its own, as a stage is."""
    lines = (
        "from pipeline.runtime.family_part import family_part, locked_part",
        "from pipeline.runtime.own_code import locked_modules, own_code",
        "part = family_part('ssd', 'evaluate', optional=True)",
        "tree = own_code()",
        "module, *parts = locked_modules(tree, 'evaluate', 'ssd')",
        "print(part, parts == [locked_part('ssd', part)], tree.unlocked(tree.lock(module, parts)))",
    )
    ended = subprocess.run(
        [sys.executable, "-c", ";".join(lines)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "None True []\n"


@pytest.mark.parametrize("name", ["fastr_rcnn", "", "..", "faster_rcnn.nn", "a/b"])
@pytest.mark.parametrize("optional", [False, True])
def test_a_family_that_is_not_there_is_told_even_where_its_part_may_be_missing(name: str, optional: bool) -> None:
    with pytest.raises(InputError, match="no such family"):
        family_part(name, "evaluate", optional)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (
            "--family faster_rcnn",
            "points_targets: error: --family faster_rcnn: has no part of stage dense_targets; write",
        ),
        (
            "--family nobody",
            "points_targets: error: --family nobody: no such family; pipeline/families/nobody/dense_targets",
        ),
        ("", "the following arguments are required: --family"),
    ],
)
def test_a_stage_tells_it_in_one_line(tmp_path: Path, family: str, expected: str) -> None:
    (tmp_path / "data").mkdir()
    command = f"stages.dense_targets {family} --resize data/resize --params base --out data/points_targets"
    ended = run_command(tmp_path, *command.split())
    assert ended.returncode and expected in ended.stderr.rstrip("\n").split("\n")[-1]
    assert not list((tmp_path / "data").glob("*points_targets*"))
