"""Sections of docs/performance.md and the figures in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.measure import interleaved
from benchmarks.page import Row, replace_section, table, write_section


def test_a_rerun_replaces_its_own_section_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "performance.md"
    page.write_text("# Performance\n\nBy hand.\n")
    write_section("first", "First", "About it.", [Row("a", [1.0], [2.0], bar=0.6)], page)
    write_section("second", "Second", "About it.", [Row("b", [3.0])], page)
    before = page.read_text()
    write_section("first", "First", r"Anew, \1.", [Row("a", [9.0], [2.0], bar=0.6)], page)
    after = page.read_text()
    assert after.startswith("# Performance\n\nBy hand.\n\n<!-- benchmark first -->\n## First\n")
    assert r"Anew, \1." in after and "About it." in after and after.count("<!-- benchmark first -->") == 1
    assert before.split("<!-- end of first -->")[1] == after.split("<!-- end of first -->")[1]
    assert "| a | 9 ms | 2 ms | 4.5 | 0.6 | missed |" in capsys.readouterr().out


def test_equal_sections_change_nothing() -> None:
    once = replace_section("# Performance\n", "x", "body")
    assert replace_section(once, "x", "body") == once


def test_a_row_takes_the_ratio_round_by_round() -> None:
    # The second round ran while the machine was busy: both took ten times as long.
    row = Row("a", [1.0, 10.0, 1.0], [2.0, 20.0, 2.1], bar=0.5, floor=0.5)
    assert row.judged == 0.5 and row.is_met
    assert table([row]).splitlines()[2].endswith("| 0.5 (0.476 to 0.5) | 0.5 | met | 0.5 ms | 2.0 |")


def test_without_a_peer_the_bar_is_a_value() -> None:
    row = Row("import", [0.9, 1.1, 1.0], bar=1.0, unit="s")
    assert row.is_met and row.cells()[1:6] == ["1 (0.9 to 1.1) s", "", "", "1 s", "met"]
    assert Row("import", [1.2], bar=1.0).is_met is False and Row("import", [1.2]).is_met is None


def test_contestants_take_turns() -> None:
    called: list[str] = []
    times = interleaved({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, runs=3, warmup=1)
    assert called == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}
