"""docs/performance.md: each benchmark prints its table and writes its own section there, between two markers.

    write_section("training_time", "Time of training", about, [Row("step 1", times["ours"], times["peer"], bar=0.5)])

Each processor, or GPU, has a section of its own for the same benchmark. A section that the page does not have yet is
added after the same benchmark's on others, or at the end; what is written by hand stays.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch

from benchmarks.measure import ratios, spread
from pipeline.artifacts.atomic import write_text
from pipeline.nn.processor import has_amx, has_bf16
from pipeline.runtime.device import gpu_model, has_gpu

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        ours, peer: values in `unit`, run by run, smaller is better; no peer: the bar is a value in `unit`.
        bar: what ours over the peer's may be at most; None: nothing is asked.
        floor: what the machine would need at least, in `unit`; None: not known.
    """

    name: str
    ours: Sequence[float]
    peer: Sequence[float] | None = None
    bar: float | None = None
    floor: float | None = None
    unit: str = "ms"

    @property
    def judged(self) -> float:
        """What the bar is held against: the median ratio, or without a peer our median."""
        return spread(self.ours if self.peer is None else ratios(self.ours, self.peer))[0]

    @property
    def is_met(self) -> bool | None:
        """Whether the bar is met; None without one."""
        return None if self.bar is None else self.judged <= self.bar

    def cells(self) -> list[str]:
        """Name, ours, peer, ratio, bar, whether it is met, floor, ours over the floor."""
        middle = spread(self.ours)[0]
        return [
            self.name,
            f"{_range_text(self.ours)} {self.unit}",
            "" if self.peer is None else f"{_range_text(self.peer)} {self.unit}",
            "" if self.peer is None else _range_text(ratios(self.ours, self.peer)),
            "" if self.bar is None else f"{_number(self.bar)}" + (f" {self.unit}" if self.peer is None else ""),
            {None: "", True: "met", False: "missed"}[self.is_met],
            "" if self.floor is None else f"{_number(self.floor)} {self.unit}",
            "" if self.floor is None else f"{middle / self.floor:.1f}",
        ]


HEADINGS = ("what", "ours", "peer", "ours / peer", "bar, at most", "", "floor", "ours / floor")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _range_text(values: Sequence[float]) -> str:
    middle, least, largest = spread(values)
    return _number(middle) if len(values) == 1 else f"{_number(middle)} ({_number(least)} to {_number(largest)})"


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown: medians, with the least and the largest of all runs."""
    lines = [list(HEADINGS), ["---"] * len(HEADINGS), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write_section(
    name: str,
    title: str,
    about: str,
    rows: Sequence[Row],
    page: Path = PAGE,
    options: str = "",
    *,
    on_cpu: bool = False,
) -> None:
    """Print a benchmark's table and put it into the page, in place of what stood in its section.

    Args:
        name: of the script, which the markers carry. title: heading of the section, before the processor's name.
        about: what is measured, in Markdown; a paragraph or two.
        options: of the script, where each has a section to itself.
        on_cpu: whether nothing of it runs on a GPU, though there is one.
    """
    print(f"\n{title}\n{table(rows)}", flush=True)
    on = cpu() if on_cpu else processor()
    command = f"`python -m benchmarks.{name}{options and f' {options}'}`, {on}, {_load()}."
    body = f"## {title}: {on}\n\n{about.strip()}\n\n{table(rows)}\n\n{command}"
    text = page.read_text(encoding="utf-8") if page.exists() else "# Performance\n"
    section = f"{name} {options}".strip()
    write_text(page, replace_section(text, f"{section}, on {on}", body, after=f"{section}, on "))


def replace_section(text: str, name: str, body: str, after: str | None = None) -> str:
    """`text` with `body` between the markers of section `name`. Where there are none, they are added after the last
    section whose name begins with `after`, or at the end."""
    start, end = f"<!-- benchmark {name} -->", f"<!-- end of {name} -->"
    section = f"{start}\n{body}\n{end}"
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), flags=re.DOTALL)
    if pattern.search(text):
        return pattern.sub(lambda _: section, text, count=1)
    others = list(re.finditer(f"<!-- end of {re.escape(after)}.* -->\n", text)) if after else []
    if others:
        at = others[-1].end()
        return f"{text[:at]}\n{section}\n{text[at:]}"
    return f"{text.rstrip()}\n\n{section}\n"


def processor() -> str:
    """What computes: the GPU, or where there is none the CPU."""
    return gpu_model() if has_gpu() else cpu()


def cpu() -> str:
    """The CPU, with the instructions that decide how fast bf16 is."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    instructions = "with AMX" if has_amx() else "with AVX512-BF16" if has_bf16() else "without bf16"
    return f"{model.group(1) if model else 'unknown processor'} {instructions}"


def _load() -> str:
    """Threads and torch, and how busy the machine was: its load beyond our own threads spoils a time."""
    return (
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )


def skip(name: str, why: str) -> NoReturn:
    """End a script that cannot be run here, with one line that says why."""
    print(f"{name}: skipped, {why}", flush=True)
    sys.exit(0)
