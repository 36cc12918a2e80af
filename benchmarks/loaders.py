"""How many images per second do a thread and processes load for a training? python -m benchmarks.loaders

It measures two trainings on photos: step 1 of Faster R-CNN at 600 px, whose images and anchors are stored, and SSD,
whose views are drawn as in `voc0712_ssd300`. Their batches are made as in the training, and dropped. `FRCNN_LOADERS`
sets the number of processes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.equal_time_task import task_of
from benchmarks.measure import spread
from benchmarks.scaling import graph, needed_for
from pipeline.runtime.variables import LOADERS
from pipeline.training import run
from tests.in_process import prepared

TRAININGS = {
    "train_rpn_step1": (
        "voc6_vgg16",
        "features.keep_frozen_stages=false",
        "resize.shorter_side=600",
        "resize.longer_side=1000",
    ),
    "train_ssd": (
        "voc6_ssd300",
        "augment.photometric.probability=0.5",
        "augment.expand.probability=0.5",
        "augment.crop.min_iou=[whole,0.1,0.3,0.5,0.7,0.9,any]",
        "augment.flip=0.5",
        "base.mirror=false",
    ),
}
"""Stages, with the preset and settings of their project."""


class _Measured(Exception):
    pass


def project_of(name: str, folder: Path) -> Path:
    """A project in which all is done that a training needs."""
    preset, *settings = TRAININGS[name]
    asked = argparse.Namespace(preset=preset, set=settings, dry_run=False, photos=None, weights=None)
    scratch = task_of(asked).scratch(folder, seed=0)
    scratch.make()
    needed = needed_for(graph(scratch.root), [name])
    scratch.frcnn("repro", *needed[:-1])
    return scratch.root


def images_per_second(name: str, root: Path, iterations: int, processes: int) -> float:
    """Images of a training per second, excluding the start of the processes."""
    found = []

    def only_load(_step: Any, batches: Callable[[range], Iterable[Any]], schedule: Any, *_: Any, **__: Any) -> None:
        items = iter(batches(range(iterations)))
        next(items)
        began = time.perf_counter()
        for _ in items:
            pass
        found.append((iterations - 1) * schedule.images_per_iteration / (time.perf_counter() - began))
        raise _Measured

    with (
        tempfile.TemporaryDirectory() as out,
        patch.dict(os.environ, {LOADERS: str(processes)}),
        patch.object(run, "train", only_load),
        suppress(_Measured),
    ):
        work, stage = prepared(name, root, Path(out))
        work(stage)
    return found[0]


def main() -> None:
    """Print images per second: the median, least and largest of the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[0, 1, 2], help="0 is a thread")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--trainings", nargs="+", choices=TRAININGS, default=list(TRAININGS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.trainings:
            root = project_of(name, Path(folder) / name)
            rates: dict[int, list[float]] = {count: [] for count in arguments.processes}
            for _ in range(arguments.runs):
                for count, own in rates.items():
                    own.append(images_per_second(name, root, arguments.iterations, count))
            for count, own in rates.items():
                middle, least, largest = spread(own)
                how = f"{LOADERS}={count}" if count else "a thread"
                print(f"{name}, {how}: {middle:.0f} ({least:.0f} to {largest:.0f}) images/s", flush=True)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
