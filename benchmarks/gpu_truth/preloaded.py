"""The whole graph with stages in forks of a Python that has imported their libraries, then each in one of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.gpu_kit import copy_photos
from benchmarks.gpu_truth.bench import Bench
from benchmarks.gpu_truth.graph import (
    ROOT,
    compared,
    environment_of_stages,
    hashes_of,
    project,
    run_graphs,
    section_ends,
)
from pipeline.orchestrate.preloading import preloaded
from pipeline.preload.client import place_of
from pipeline.preload.stage_client import ADDRESS


def run(bench: Bench) -> None:
    """What both have done in the time is compared."""
    photos = bench.work / "preloaded-photos"
    copy_photos(bench.kit / "photos", photos, 16 if bench.small else 64)
    forked, alone = (
        project(bench, photos, bench.work / name, 12 if bench.small else 30) for name in ("forked", "alone")
    )
    began = time.perf_counter()
    with preloaded(ROOT, environment_of_stages()) as variables:
        while not _listens(variables[ADDRESS]):
            time.sleep(0.05)
        bench.record(seconds_to_import=time.perf_counter() - began)
        os.environ.update(variables)
        bench.record(seconds_to_start_forked=bench.seconds(_start, runs=3, warmup=1))
        first = _run(bench, forked, "seconds_forked", 0.4)
        del os.environ[ADDRESS]
    bench.record(seconds_to_start_alone=bench.seconds(_start, runs=2, warmup=0))
    second = _run(bench, alone, "seconds_alone", 0.95)
    both = first.keys() & second.keys()
    bench.record(
        forked=sum(first[name] for name in both),
        alone=sum(second[name] for name in both),
        **compared([hashes_of(folder) for folder in (forked, alone)], [first, second]),
    )


def _start() -> None:
    """Start a stage that ends when it has imported what it needs."""
    command = [sys.executable, "-m", "stages.proposals", "--help"]
    subprocess.run(command, env=environment_of_stages(), check=True, stdout=subprocess.DEVNULL)


def _run(bench: Bench, folder: Path, name: str, share: float) -> dict[str, float]:
    def record(done: Sequence[Mapping[str, float]]) -> None:
        bench.record(**{name: dict(done[0])})

    (done,) = run_graphs([folder], section_ends(bench, "preloaded", share), record)
    bench.record(**{name: done})
    return done


def _listens(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(place_of(address)) == 0
