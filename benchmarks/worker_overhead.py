"""What does it cost a stage to be run by a worker? A small graph by two workers on this machine, store by store.

    python -m benchmarks.worker_overhead [--stores cache folder]

Of each stage: from the moment the coordinator asks for it to the moment it has the result, less the stage's own work,
and less the time in which the only worker of its pool has another. That is Prefect's handing out (workers look twice a
second), a process forked for the run, the clone made ready, what the stage reads brought, DVC's own part of `dvc
repro`, the interpreter of the stage and its imports, and the result left for everybody. With a common cache nothing is
copied; with a remote, here a folder, all is, twice.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from pipeline.orchestrate.record import read_record
from pipeline.runtime.run_times import read_runs
from tests.conftest import TINY
from tests.workers.cluster import cluster

_REMOTES = {"cache": None, "folder": {"url": ""}}


def overheads(folder: Path, store: str) -> dict[str, float]:
    """Seconds of each stage that were neither its own work nor that of another stage before it."""
    with cluster(folder, TINY, _REMOTES[store]) as made:
        workers = [made.worker(f"worker-{pool}", pool)[0] for pool in ("gpu", "cpu")]
        made.coordinate("flow", "--on-workers")
        own = {name: run.seconds for worker in workers for name, run in read_runs(worker.root).items()}
        waited = waits(made.server)
        _, records = read_record(made.coordinator.root)
    # Records are named with the step in front: "step 1: train_rpn_step1".
    seconds = {label.split(": ")[-1]: record.seconds for label, record in records.items()}
    return {name: value - own[name] - waited[name] for name, value in seconds.items()}


def waits(server: str) -> dict[str, float]:
    """Seconds in which each stage was asked for while its worker had one that was asked for before."""
    answer = httpx.post(f"{server}/flow_runs/filter", json={})
    answer.raise_for_status()
    runs = [run for run in answer.json() if "request" in run["parameters"]]
    found = {}
    for run in runs:
        asked = datetime.fromisoformat(run["created"])
        before = [
            datetime.fromisoformat(other["end_time"])
            for other in runs
            if _worker_of(other) == _worker_of(run) and other["start_time"] < run["start_time"]
        ]
        waited = max(((ended - asked).total_seconds() for ended in before), default=0.0)
        found[run["parameters"]["request"]["stage"]] = max(0.0, waited)
    return found


def _worker_of(run: dict[str, Any]) -> str:
    worker: str = next(tag for tag in run["tags"] if tag.startswith("worker:"))
    return worker


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", nargs="+", choices=list(_REMOTES), default=list(_REMOTES))
    for store in parser.parse_args().stores:
        with tempfile.TemporaryDirectory() as folder:
            seconds = overheads(Path(folder), store)
        for name, value in seconds.items():
            print(f"{store:8}{name:26}{value:6.1f} s")
        values = list(seconds.values())
        least, middle, most = min(values), statistics.median(values), max(values)
        print(f"{store:8}median {middle:.1f} s, {least:.1f} to {most:.1f} s", flush=True)


if __name__ == "__main__":
    main()
