"""What do the rows of one view cost, in random order, in a table too large to hold? Five layouts of two tables.

    python -m benchmarks.rows_by_offset [--images 5000] [--proposals 2000] [--out FOLDER] [--no-page]

Writes the tables of so many training images and their mirrors in each layout, in turn, and reads their views in random
order, each layout in a process of its own: CPU, memory that belongs to the process alone, bytes on the disk. At the
defaults a table takes 1 GB, and all of it some minutes. docs/scaling.md shows it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.page import Row, write_section
from benchmarks.row_layouts import LAYOUTS, OURS, PEER, SCHEMAS
from benchmarks.sizes import PAGE, size_text

BAR_MS, BAR_BYTES = 0.3, 64 << 20


@dataclass(frozen=True)
class Cost:
    """Of one layout of one table.

    Attributes:
        ms: of CPU a view, one reading after another. open_ms: of CPU. write_s: of CPU, for the whole table.
        anonymous: bytes that the process has more than before (RssAnon). written: bytes on the disk.
    """

    ms: list[float]
    open_ms: float
    write_s: float
    anonymous: int
    written: int


def cost(layout: str, name: str, folder: Path, images: int, count: int) -> Cost:
    """Write a table here, and read it in a process of its own."""
    began = time.process_time()
    LAYOUTS[layout][0](folder, name, images, count)
    write_s = time.process_time() - began
    written = sum(path.stat().st_size for path in folder.iterdir())
    command = [sys.executable, "-m", "benchmarks.row_layouts", layout, name, str(folder), str(images)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return Cost(**found, write_s=write_s, written=written)


def table(costs: Mapping[str, Mapping[str, Cost]]) -> str:
    """In Markdown, a row a layout of a table."""
    lines = [
        "| table | layout | first reading, ms a view | later | opening, ms | memory | on the disk | writing, s |",
        "|" + " --- |" * 8,
    ]
    for name, layouts in costs.items():
        lines += [line(name, layout, own) for layout, own in layouts.items()]
    return "\n".join(lines)


def line(name: str, layout: str, own: Cost) -> str:
    """A row of the table."""
    return (
        f"| {name} | {layout} | {own.ms[0]:.3f} | {min(own.ms[1:]):.3f} | {own.open_ms:.0f} | "
        f"{own.anonymous / 1e6:.0f} MB | {size_text(own.written)} | {own.write_s:.0f} |"
    )


def rows(costs: Mapping[str, Mapping[str, Cost]]) -> list[Row]:
    """Ours beside a row group decoded for each view; ours against the bars."""
    found = []
    for name, layouts in costs.items():
        ours, peer = layouts[OURS], layouts[PEER]
        found += [
            Row(f"{name}, CPU a view", ours.ms, peer.ms),
            Row(f"{name}, CPU a view, slowest reading", [max(ours.ms)], bar=BAR_MS),
            Row(f"{name}, memory", [ours.anonymous / 1e6], bar=BAR_BYTES / 1e6, unit="MB"),
        ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--proposals", type=int, default=2000)
    parser.add_argument("--out", type=Path, help="where the tables go (default: a temporary folder)")
    parser.add_argument("--no-page", action="store_true", help="print, and leave docs/scaling.md as it is")
    options = parser.parse_args()
    costs: dict[str, dict[str, Cost]] = {}
    for layout in LAYOUTS:
        for name in SCHEMAS:
            with tempfile.TemporaryDirectory(dir=options.out) as folder:
                own = cost(layout, name, Path(folder), options.images, options.proposals)
            costs.setdefault(name, {})[layout] = own
            print(line(name, layout, own), flush=True)
    if not options.no_page:
        about = (
            f"{options.images:,} images and their mirrors with {options.proposals:,} rows each, read view by view in\n"
            "random order, by one thread. Memory is what the process has of its own after three readings (RssAnon),\n"
            "without the interpreter and its modules. The first reading compares checksums. A mapped file of Arrow or\n"
            "npz members would have to stand beside the Parquet file, which users open.\n\n" + table(costs)
        )
        write_section("rows_by_offset", "Rows of one view", about, rows(costs), PAGE, on_cpu=True)


if __name__ == "__main__":
    main()
