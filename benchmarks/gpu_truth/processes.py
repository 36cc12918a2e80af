"""The stages that go image by image, in one process and in several that share the card (`FRCNN_PROCESSES`)."""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path

from benchmarks.gpu_truth.bench import Bench
from benchmarks.gpu_truth.graph import project
from benchmarks.processes import run as run_stage
from benchmarks.scaling import graph, needed_for
from pipeline.artifacts.manifest import MANIFEST

MEASURED = ("features", "proposals_step1", "anchor_targets", "resize")


def run(bench: Bench) -> None:
    """Whole stages by the commands of dvc.yaml, starts included; the others that they need run in one process."""
    photos = repeated(bench.kit / "photos", bench.work / "many-photos", 1 if bench.small else 6)
    root = project(bench, photos, bench.work / "processes", 2, "features.keep_frozen_stages=false")
    for name in ("code", *needed_for(graph(root), MEASURED)):
        bench.attempt(f"{name}, 1", partial(_measure, root, name, 1))
    for count in (2,) if bench.small else (4, 2):
        for name in MEASURED:
            bench.attempt(f"{name}, {count}", partial(_measure, root, name, count))


def _measure(root: Path, name: str, count: int) -> dict[str, object]:
    if count > 1 and not (root / "data" / name / MANIFEST).exists():
        raise ValueError("the run in one process failed")
    began = time.perf_counter()
    out = run_stage(root, name, count)
    seconds = time.perf_counter() - began
    if count == 1:
        return {"seconds": seconds}
    same = (out / MANIFEST).read_bytes() == (root / "data" / name / MANIFEST).read_bytes()
    shutil.rmtree(out)
    return {"seconds": seconds, "same_bytes": same}


def repeated(photos: Path, target: Path, times: int) -> Path:
    """A VOC tree in which each photo of another stands several times, under names of their own; `target`."""
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (target / part).mkdir(parents=True)
    for split in ("train", "test"):
        names = (photos / f"ImageSets/Main/{split}.txt").read_text(encoding="utf-8").split()
        copies = {f"{name}_{number}": name for number in range(times) for name in names}
        (target / f"ImageSets/Main/{split}.txt").write_text("".join(f"{copy}\n" for copy in copies), encoding="utf-8")
        for copy, name in copies.items():
            for part, ending in (("Annotations", "xml"), ("JPEGImages", "jpg")):
                shutil.copyfile(photos / f"{part}/{name}.{ending}", target / f"{part}/{copy}.{ending}")
    return target
