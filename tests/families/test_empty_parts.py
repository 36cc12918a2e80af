"""A family's part without what it is there for: whoever asks is told in one line, and nothing is left out silently."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.graphs.command import StageCommand
from pipeline.orchestrate.graph import Graph
from pipeline.params.file import load_params
from pipeline.preflight.family_checks import family_checks
from pipeline.report.family_report import family_report
from pipeline.report.run import Run
from pipeline.runtime.errors import InputError
from pipeline.views.family_part import listed
from pipeline.views.levels import head_layout
from pipeline.views.metrics import metrics_of
from pipeline.views.panels.registry import find_panels
from pipeline.views.pictures import picture_of
from tests.families.points_project import visible, write_project

COMMAND = StageCommand.parse("python -m stages.other --family points --params base --out data/other")

ASKED: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "report": (
        "report",
        "REPORT",
        lambda root: family_report(Run(root, load_params(root / "params.yaml"), Graph({}, frozenset()), {})),
    ),
    "checks": ("check_data", "CHECKS", lambda root: family_checks(load_params(root / "params.yaml"))),
    "levels": ("dense_targets", "locations", lambda root: head_layout(load_params(root / "params.yaml"))),
    "panels": ("panels", "PANELS or DRAWN", lambda root: find_panels(COMMAND, root)),
    "figures": ("figures", "FIGURES or PICTURES", lambda root: metrics_of(COMMAND, root)),
    "pictures": ("figures", "FIGURES or PICTURES", lambda root: picture_of(COMMAND, root)),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with visible():
        yield write_project(tmp_path_factory.mktemp("parts") / "project", {})


def with_part(monkeypatch: pytest.MonkeyPatch, part: str, **content: object) -> None:
    """Give the family a part that holds this and nothing else."""
    name = f"pipeline.families.points.{part}"
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("asked", ASKED)
def test_a_part_without_its_table_is_told(root: Path, monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    part, what, ask = ASKED[asked]
    ask(root)
    with_part(monkeypatch, part, MISSPELT={})
    told = f"pipeline/families/points/{part}.py: has no {what}; see docs/families.md"
    with pytest.raises(InputError, match=f"^{re.escape(told)}$"):
        ask(root)


def test_of_the_tables_of_a_part_one_is_enough(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_part(monkeypatch, "figures", FIGURES={"other": lambda *_: {"boxes": 3}})
    assert metrics_of(COMMAND, root) == {"boxes": 3} and picture_of(COMMAND, root) is None
    assert listed(COMMAND, root, "figures", "PICTURES") is None
