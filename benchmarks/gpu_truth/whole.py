"""A real training from photos to mAP: the preset voc6_vgg16 with its own schedule, on all photos of the kit."""

from __future__ import annotations

import json
import threading
import time

from benchmarks.gpu_truth.bench import Bench
from benchmarks.gpu_truth.graph import Peak, project, run_graph


def run(bench: Bench) -> None:
    """Stages that do not wait for each other run side by side, as a flow has them."""
    folder = project(bench, bench.kit / "photos", bench.work / "whole", 3 if bench.small else None)
    done: dict[str, float] = {}
    thread = threading.Thread(target=run_graph, args=(folder, done, threading.Event()))
    began, peak = time.monotonic(), Peak(bench)
    thread.start()
    while thread.is_alive():
        thread.join(0.5)
        peak.look()
        bench.record(seconds=dict(done), peak_device_bytes=peak.most, seconds_in_all=time.monotonic() - began)
    found = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("data/evaluate_*/metrics.json")}
    bench.record(stages_done=len(done), metrics=found)
