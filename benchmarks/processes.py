"""What does a second process gain? python -m benchmarks.processes [--images 2000] [--side 600] [--runs 3]

Every kind of stage of the default graph that goes image by image, on generated images, with `base.threads: 1`, in one
process and in two, in turn: seconds of the whole stage, its start included, and two over one. Both must leave the same
bytes. With `--runs 1` the first run of each stage, which the others need in any case, is the one in one process. A
machine that others use as well gives no figure to keep.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import yaml

from benchmarks.flow_overhead import small_project
from benchmarks.measure import interleaved
from benchmarks.page import Row, table
from benchmarks.scaling import graph, needed_for
from pipeline.artifacts.manifest import MANIFEST
from pipeline.runtime.processes import PROCESSES

MEASURED = ("resize", "anchor_targets", "proposals_step1", "proposal_targets_step2", "features", "detect_step2")
BAR = 1 / 1.7


def make_project(root: Path, images: int, side: int) -> dict[str, float]:
    """A project with inputs for every stage that is measured; a third of the images are for tests.

    Returns:
        seconds of each of its stages, in one process.
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
    return {name: _seconds(run, root, name, 1) for name in ("code", *needed_for(graph(root), MEASURED))}


def _seconds(work: Callable[..., object], *arguments: object) -> float:
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began


def run(root: Path, name: str, processes: int) -> Path:
    """Run a stage as dvc.yaml wires it; its folder, which lies beside data/ but for the inputs of others."""
    words = graph(root)[name]["cmd"].split()
    out = root / "data" / name
    if name in MEASURED and out.exists():
        out = root / f"of_{processes}" / name
        shutil.rmtree(out, ignore_errors=True)
        words[words.index("--out") + 1] = str(out.relative_to(root))
    environment = {**os.environ, PROCESSES: str(processes)}
    subprocess.run([sys.executable, *words[1:]], cwd=root, env=environment, check=True, stderr=subprocess.DEVNULL)
    return out


def compare(root: Path, name: str, runs: int, first: float) -> Row:
    """One process and two, round by round; of one round, `first` is the seconds of one process."""
    if runs == 1:
        times = {"1": [first], "2": [_seconds(run, root, name, 2)]}
    else:
        times = interleaved({str(count): partial(run, root, name, count) for count in (1, 2)}, runs, warmup=1)
    one, two = root / "data" / name / MANIFEST, root / "of_2" / name / MANIFEST
    assert one.read_bytes() == two.read_bytes(), f"{name}: two processes leave other bytes than one"
    return Row(f"`{name}`, two processes over one", times["2"], times["1"], bar=BAR, unit="s")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--side", type=int, default=600, help="of the images, px")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--stages", nargs="+", choices=MEASURED, default=MEASURED)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        seconds = make_project(root, arguments.images, arguments.side)
        rows = [compare(root, name, arguments.runs, seconds[name]) for name in arguments.stages]
    print(table(rows))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
