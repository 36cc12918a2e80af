"""The report that a flow renews at its end: only where it is older than dvc.lock, and never at the flow's cost."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pipeline.orchestrate.report_page import renew_report


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose report is older than its lock."""
    for age, name in enumerate(("report.html", "dvc.lock")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1_000 + age, 1_000 + age))
    return tmp_path


def put_in_place_of_python(root: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    program = root / "python"
    program.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def test_an_older_report_is_renewed_in_the_project(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place_of_python(root, monkeypatch, 'echo "$@" > report.html', "echo reading", "echo report.html: 4 images")
    assert renew_report(root) == "report: report.html: 4 images"
    assert (root / "report.html").read_text() == "-m pipeline.cli report\n"
    assert renew_report(root) is None, "it is newer than the lock now"


def test_one_that_is_not_there_is_written_and_none_without_a_lock(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place_of_python(root, monkeypatch, "touch report.html")
    (root / "report.html").unlink()
    assert renew_report(root) == "report: ended with 0" and (root / "report.html").is_file()
    (root / "report.html").unlink()
    (root / "dvc.lock").unlink()
    assert renew_report(root) is None and not (root / "report.html").exists()


def test_a_report_that_fails_is_one_line_of_the_log(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place_of_python(root, monkeypatch, "echo first >&2", "echo frcnn: error: no run >&2", "exit 1")
    assert renew_report(root) == "report: frcnn: error: no run"
    put_in_place_of_python(root, monkeypatch, "exit 3")
    assert renew_report(root) == "report: ended with 3"
    (root / "python").unlink()
    assert str(renew_report(root)).startswith("report: [Errno 2] No such file")
