"""What the environment may say: numbers, and no names that nobody reads."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from pipeline.orchestrate.commands import run_flow
from pipeline.orchestrate.worker import run_worker
from pipeline.runtime.errors import InputError, StartedOtherwise
from pipeline.runtime.variables import (
    EVERY_ITERATIONS,
    EVERY_MINUTES,
    LOADERS,
    PROCESSES,
    VARIABLES,
    check_variables,
    iterations_between_states,
    loader_count,
    minutes_between_states,
    process_count,
    unknown_variables,
    variables_that_are_set,
)
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_nothing_set_is_one_process_a_thread_and_five_minutes() -> None:
    numbers = process_count(), loader_count(), minutes_between_states(), iterations_between_states()
    assert numbers == (1, 0, 5.0, float("inf"))
    assert variables_that_are_set() == {}


def test_what_is_set_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {PROCESSES: "4", LOADERS: " 2 ", EVERY_MINUTES: ".5", EVERY_ITERATIONS: "10"}
    for name, text in values.items():
        monkeypatch.setenv(name, text)
    assert (process_count(), loader_count(), minutes_between_states(), iterations_between_states()) == (4, 2, 0.5, 10)
    assert variables_that_are_set() == {name: text.strip() for name, text in values.items()}


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *((text, text) for text in ("-1", "often", "nan", "1e", "\u00b2", "1_0", "a:b")),
        ("4\n5", r"4\n5"),
        ("\x1b[31m", r"\x1b[31m"),
        ("-" + "9" * 5000, "-" + "9" * 36 + "..."),
    ],
)
def test_a_wrong_number_is_one_line(name: str, text: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(StartedOtherwise, match=f"^{re.escape(f'{name}={shown}')}: give a .*number.*, or leave it out"):
        check_variables()


def test_zeros_before_a_number_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROCESSES, "0" * 20 + "4")
    assert process_count() == 4


@pytest.mark.parametrize("name", [PROCESSES, LOADERS])
def test_nobody_wants_thousands_of_processes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "512")
    check_variables()
    for text in ("513", "99999999999"):
        monkeypatch.setenv(name, text)
        with pytest.raises(
            StartedOtherwise, match=f"{name}={text}: give a whole number from . to 512, or leave it out"
        ):
            check_variables()


@pytest.mark.parametrize(
    ("name", "text"), [(EVERY_ITERATIONS, "1.5"), (EVERY_ITERATIONS, "inf"), (EVERY_MINUTES, "inf")]
)
def test_iterations_are_whole_and_minutes_finite(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(StartedOtherwise, match=f"{name}={text}: give a .*number above 0, or leave it out"):
        check_variables()


@pytest.mark.parametrize("text", ["", " "])
@pytest.mark.parametrize("name", VARIABLES)
def test_an_empty_one_is_not_set(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, text)
    assert variables_that_are_set() == {}


def test_several_processes_are_remarked_on_where_stages_run_side_by_side(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    check_variables(side_by_side=True)
    monkeypatch.setenv(PROCESSES, "3")
    check_variables()
    assert capsys.readouterr().err == ""
    line = (
        "FRCNN_PROCESSES=3: stages run side by side here, and each that goes image by image starts 3 processes; "
        "unset it where cores or memory are short\n"
    )
    for command in (partial(run_flow, tmp_path, []), partial(run_worker, tmp_path / "none", "here")):
        with pytest.raises((InputError, OSError)):
            command(print)
        assert capsys.readouterr().err == line


def test_a_name_that_nothing_reads_is_named_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FRCNN_PROCESES", "4")
    monkeypatch.setenv("FRCNN_WORKSPACE", "/here")  # which a run sets for its stages
    check_variables()
    assert capsys.readouterr().err == (
        "FRCNN_PROCESES: no such variable, so it has no effect; the nearest is FRCNN_PROCESSES\n"
    )


def test_of_a_name_like_none_all_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRCNN_THREADS", "4")
    assert unknown_variables() == [
        f"FRCNN_THREADS: no such variable, so it has no effect; there are {', '.join(VARIABLES)}"
    ]


def test_every_name_in_the_code_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one would be called unknown."""
    names = set()
    for folder in ("pipeline", "stages", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            names.update(re.findall(r'"(FRCNN_[A-Z_]*[A-Z])"', path.read_text(encoding="utf-8")))
    assert names >= {"FRCNN_PROCESSES", "FRCNN_WORKSPACE"}
    for name in names:
        monkeypatch.setenv(name, "1")
    assert unknown_variables() == []


def test_the_docs_describe_each_that_a_person_may_set() -> None:
    page = (ROOT / "docs/variables.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(FRCNN_[A-Z_]+)` \|", page, flags=re.MULTILINE)) == set(VARIABLES)
