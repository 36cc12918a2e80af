"""The report on the tiny run."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.report.command import write_report
from tests.conftest import Project, made_once


def report_on(tiny_run: Project, factory: pytest.TempPathFactory) -> Path:
    """The page with four images, which one of the test processes makes for all of them."""

    def make(folder: Path) -> None:
        folder.mkdir()
        out = folder / "report.html"
        assert str(out) in write_report(tiny_run.root, out, 4)

    return made_once(factory, "tiny_report", make) / "report.html"
