"""Sections of docs/performance.md and the figures in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.overrides import TorchFunctionMode

from benchmarks import measure
from benchmarks.measure import interleaved, measured_rates
from benchmarks.page import Row, processor, replace_section, table, write_section


def test_a_rerun_replaces_its_own_section_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "performance.md"
    page.write_text("# Performance\n\nBy hand.\n")
    write_section("first", "First", "About it.", [Row("a", [1.0], [2.0], bar=0.6)], page)
    write_section("second", "Second", "About it.", [Row("b", [3.0])], page)
    before = page.read_text()
    write_section("first", "First", r"Anew, \1.", [Row("a", [9.0], [2.0], bar=0.6)], page)
    after = page.read_text()
    marker = f"first, on {processor()} -->"
    assert after.startswith(f"# Performance\n\nBy hand.\n\n<!-- benchmark {marker}\n## First: {processor()}\n")
    assert r"Anew, \1." in after and "About it." in after and after.count(f"<!-- benchmark {marker}") == 1
    assert before.split(f"<!-- end of {marker}")[1] == after.split(f"<!-- end of {marker}")[1]
    assert "| a | 9 ms | 2 ms | 4.5 | 0.6 | missed |" in capsys.readouterr().out


def test_another_processor_has_a_section_of_its_own_beside_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "performance.md"
    for on in ("A", "B", "A"):
        monkeypatch.setattr("benchmarks.page.processor", lambda on=on: on)
        for name in ("first", "second"):
            write_section(name, name, "About it.", [Row("a", [1.0])], page)
    titles = [line for line in page.read_text().splitlines() if line.startswith("## ")]
    assert titles == ["## first: A", "## first: B", "## second: A", "## second: B"]


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


@pytest.mark.long
def test_contestants_take_turns() -> None:
    called: list[str] = []
    times = interleaved({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, runs=3, warmup=1)
    assert called == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}


def test_rates_are_those_of_the_device_that_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    met: set[str] = set()
    monkeypatch.setattr(measure, "_best", lambda work: float(work() is not None))

    class Devices(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            if func in (torch.Tensor.matmul, torch.Tensor.__matmul__, torch.conv2d, torch.Tensor.copy_):
                met.add(result.device.type)
            return result

    with Devices():
        rates = measured_rates(torch.device("meta"))
    assert met == {"meta"} and min(rates.float32, rates.bf16, rates.bytes) > 0
    monkeypatch.setattr(measure, "gpu_or_cpu", lambda: torch.device("meta"))
    assert measured_rates() is rates  # no device given: the one that stages find
