"""What does a second process gain? python -m benchmarks.processes [--images 2000] [--side 600] [--runs 3]

Every kind of stage of the default graph that goes image by image, on generated images, with `base.threads: 1`, in one
process and in two, in turn: seconds of the whole stage, its start included, and two over one. `--processes 4` compares
one and four. Both must leave the same bytes. With `--runs 1` the first run of each stage, which the others need in any
case, is the one in one process. A machine that others use as well gives no figure to keep. Stages run as under
`frcnn repro`, in forks of a Python that has imported their libraries; FRCNN_PRELOAD=0 has each start its own.

The floor is the CPU time of one process divided by the cores that several can use: one process, which reads and writes
in threads, uses more than a core, so that two cannot always be twice as fast.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
import yaml

from benchmarks.measure import interleaved
from benchmarks.page import Row, table
from benchmarks.scaling import graph, needed_for
from benchmarks.small_project import small_project
from pipeline.artifacts.manifest import MANIFEST
from pipeline.orchestrate.preloading import preloaded
from pipeline.runtime.variables import PROCESSES

MEASURED = ("resize", "anchor_targets", "proposals_step1", "proposal_targets_step2", "features", "detect_step2")
BAR = 1 / 1.7
ROOT = Path(__file__).resolve().parents[1]


class Spent(NamedTuple):
    """Seconds of a stage, its start included: on the clock, and of all cores together."""

    wall: float
    cpu: float


def make_project(root: Path, images: int, side: int, measured: Iterable[str]) -> dict[str, Spent]:
    """A project with inputs for the stages that are measured; a third of the images are for tests.

    Returns:
        what each of its stages took, in one process.
    """
    root.mkdir(parents=True)
    small_project(root, threads=1)
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    tests = images // 3
    params["dataset"]["shapes"].update(train=images - tests, test=tests, image_size=side)
    params["resize"].update(shorter_side=side, longer_side=side)
    params["proposals"].update(pre_nms=6000, post_nms=2000)
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return {name: spent(root, name, 1) for name in ("code", *needed_for(graph(root), measured))}


def spent(root: Path, name: str, processes: int) -> Spent:
    """Run a stage and measure it."""
    cpu, began = _cpu_of_children(), time.perf_counter()
    run(root, name, processes)
    return Spent(time.perf_counter() - began, _cpu_of_children() - cpu)


def _cpu_of_children() -> float:
    """Also of those that live on, and of theirs: what stages are forked from waits for them."""
    own = psutil.Process()
    living = []
    for child in own.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            living.append(child.cpu_times())
    ended = [own.cpu_times(), *living]
    return sum(t.user + t.system for t in living) + sum(t.children_user + t.children_system for t in ended)


def run(root: Path, name: str, processes: int) -> Path:
    """Run a stage as dvc.yaml wires it; its folder, which lies beside data/ but for the inputs of others."""
    words = graph(root)[name]["cmd"].split()
    out = root / "data" / name
    if name in MEASURED and out.exists():
        out = root / f"of_{processes}" / name
        shutil.rmtree(out, ignore_errors=True)
        words[words.index("--out") + 1] = str(out.relative_to(root))
    environment = {**os.environ, PROCESSES: str(processes)}
    ended = subprocess.run([sys.executable, *words[1:]], cwd=root, env=environment, stderr=subprocess.PIPE, text=True)
    if ended.returncode != 0:
        raise RuntimeError(f"{name} failed: {ended.stderr}")
    return out


def _keep(taken: list[Spent], root: Path, name: str, processes: int) -> None:
    taken.append(spent(root, name, processes))


def compare(root: Path, name: str, processes: int, runs: int, first: Spent) -> Row:
    """One process and several, round by round; of one round, `first` is what one process took."""
    taken: dict[int, list[Spent]] = {1: [], processes: []}
    if runs == 1:
        taken = {1: [first], processes: [spent(root, name, processes)]}
    else:
        measured = {count: partial(_keep, own, root, name, count) for count, own in taken.items()}
        interleaved({str(count): work for count, work in measured.items()}, runs, warmup=1)
        taken = {count: own[1:] for count, own in taken.items()}
    one, several = root / "data" / name / MANIFEST, root / f"of_{processes}" / name / MANIFEST
    assert one.read_bytes() == several.read_bytes(), f"{name}: {processes} processes leave other bytes than one"
    title = f"`{name}`, {processes} processes over one"
    floor = statistics.median(own.cpu for own in taken[1]) / min(processes, len(os.sched_getaffinity(0)))
    ours, peer = ([own.wall for own in taken[count]] for count in (processes, 1))
    return Row(title, ours, peer, bar=BAR if processes == 2 else None, floor=floor, unit="s")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--side", type=int, default=600, help="of the images, px")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="+", default=[2], help="compared with one")
    parser.add_argument("--stages", nargs="+", choices=MEASURED, default=MEASURED)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, preloaded(ROOT, os.environ) as variables:
        os.environ.update(variables)
        root = Path(folder) / "project"
        seconds = make_project(root, given.images, given.side, given.stages)
        rows = [compare(root, name, n, given.runs, seconds[name]) for name in given.stages for n in given.processes]
    print(table(rows))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
