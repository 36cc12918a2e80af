"""Lines of progress in a log say how far the work is, and are understood again."""

from __future__ import annotations

import pytest

from pipeline.runtime import progress
from pipeline.runtime.progress import Progress, parse_progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("what", "note", "text"),
    [
        ("resize", "", "30 of 120 images, 2.0 images/s, 0:45 left"),
        ("train: rpn 1/2", "loss 0.25", "30 of 120 images, 2.0 images/s, 0:45 left, loss 0.25"),
    ],
)
def test_what_is_written_is_understood(
    clock: list[float], capsys: pytest.CaptureFixture[str], what: str, note: str, text: str
) -> None:
    with Progress(what, 120, "images") as bar:
        clock[0] = 15.0
        bar.advance(30, note)
    (line,) = capsys.readouterr().err.splitlines()
    assert parse_progress(line) == (0.25, text)


def test_of_an_unknown_number_no_time_is_left(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("check-data", 0, "images") as bar:
        clock[0] = 20.0
        bar.advance(30)
    line = capsys.readouterr().err.rstrip("\n")
    assert line == "check-data: 30 images, 1.5 images/s" and parse_progress(line) is None


def test_more_than_an_hour_left_is_understood(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("train", 1001, "iterations") as bar:
        clock[0] = 20.0
        bar.advance(1)
    parsed = parse_progress(capsys.readouterr().err.rstrip("\n"))
    assert parsed == (1 / 1001, "1 of 1001 iterations, 0.1 iterations/s, 333:20 left")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "resize: done in 3.2 s, see data/resize",
        "resize: 12 images",
        "train: 3/4 iterations",
        "3/4 images, 2.0 images/s, 0:05 left",
        "odd: 3/0 images, 2.0 images/s, 0:05 left",
    ],
)
def test_other_lines_are_none_of_it(line: str) -> None:
    assert parse_progress(line) is None
