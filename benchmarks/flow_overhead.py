"""What do DVC and Prefect cost a stage? Every stage of a small graph under the flow, its time taken apart.

    python -m benchmarks.flow_overhead [--threads N]

Runs the default graph on a few images and iterations in an empty folder, then again with everything cached. With as
many threads as cores stages run one after another, with fewer side by side. Of each stage it prints

- imports: the interpreter of DVC and its imports, the interpreter of the stage and its imports;
- work: the stage's own;
- DVC: its decision to run, hashing, committing, and its end;
- Prefect: from the end of the last of the stages it reads from to its being ready. The wait for free cores that may
  follow is nobody's cost.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.small_project import small_project
from pipeline.orchestrate.graph import read_graph
from pipeline.orchestrate.record import StageRecord, read_record


def run_flow(root: Path) -> float:
    """Seconds of one flow, its process, server and all."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "flow"],
        cwd=root,
        env={**environment, "PYTHONPATH": str(root)},
        check=True,
        capture_output=True,
    )
    return time.monotonic() - began


def seconds_to_import_dvc(root: Path) -> float:
    """From nothing to a DVC that is about to read the graph."""
    code = "import dvc.cli, dvc.repo.reproduce, dvc.commands.repro"
    times = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
        times.append(time.monotonic() - began)
    return statistics.median(times)


def rows_of(root: Path, records: dict[str, StageRecord], dvc_imports: float) -> dict[str, tuple[float, ...]]:
    """Imports, work, DVC and Prefect of each stage, seconds."""
    graph = read_graph(root)
    rows: dict[str, tuple[float, ...]] = {}
    for name, record in records.items():
        marks = record.marks
        stage_imports = marks["working"] - marks["started"]
        work = marks["worked"] - marks["working"]
        dvc = record.seconds - work - stage_imports - dvc_imports
        before = [records[upstream].marks["ended"] for upstream in graph.nodes[name].upstream]
        prefect = marks["ready"] - max(before) if before else 0.0
        rows[name] = (dvc_imports + stage_imports, work, dvc, prefect)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="base.threads")
    threads = parser.parse_args().threads
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        root.mkdir()
        small_project(root, threads)
        all_seconds = run_flow(root)
        flow_seconds, records = read_record(root)
        rows = rows_of(root, records, seconds_to_import_dvc(root))
        cached_seconds = [run_flow(root) for _ in range(3)]
        cached_flow_seconds, _ = read_record(root)
    print(f"{'stage':24}{'imports':>9}{'work':>9}{'DVC':>9}{'Prefect':>9}{'DVC+Prefect':>13}")
    for name, (imports, work, dvc, prefect) in rows.items():
        print(f"{name:24}{imports:9.2f}{work:9.2f}{dvc:9.2f}{prefect:9.2f}{dvc + prefect:13.2f}")
    means = [statistics.mean(column) for column in zip(*rows.values(), strict=True)]
    print(f"{'mean':24}" + "".join(f"{mean:9.2f}" for mean in means) + f"{means[2] + means[3]:13.2f}")
    worst = max(row[2] + row[3] for row in rows.values())
    print(f"largest DVC + Prefect of a stage {worst:.2f} s")
    print(f"all {len(rows)} stages: {all_seconds:.1f} s, of which the flow {flow_seconds:.1f} s")
    cached = statistics.median(cached_seconds)
    print(f"all cached: {cached:.1f} s (median of 3), of which the flow {cached_flow_seconds:.1f} s")


if __name__ == "__main__":
    main()
