"""The whole graph by the commands of dvc.yaml without DVC: twice, deterministic, step 1 stopped and resumed; or once,
with the whole schedule of a preset."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.gpu_kit import copy_photos
from benchmarks.gpu_truth.bench import Bench
from benchmarks.gpu_truth.sections import PATIENCE, SECTIONS
from pipeline.presets.apply import apply_preset

ROOT = Path(__file__).resolve().parents[2]
STOPPED = "train_rpn_step1"
TRAININGS = (STOPPED, "train_head_step2", "train_rpn_step3", "train_head_step4", "finetune_joint")
# A state as often as possible, by either of the two variables.
_STATES_OFTEN = {"FRCNN_CHECKPOINT_ITERATIONS": "1", "FRCNN_CHECKPOINT_MINUTES": "0.0001"}


def commands() -> dict[str, list[str]]:
    """What each stage of dvc.yaml runs, in order, by this Python."""
    found = {}
    for name, stage in _stages().items():
        first, *rest = stage["cmd"].split()
        assert first == "python", f"{name} is run by {first}"
        found[name] = [sys.executable, *rest]
    return found


def needs() -> dict[str, set[str]]:
    """Of each stage of dvc.yaml, the stages whose folders it reads."""
    stages = _stages()
    return {
        name: {dep.split("/")[1] for dep in stage.get("deps", ())} & stages.keys() for name, stage in stages.items()
    }


def _stages() -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return stages


def run(bench: Bench) -> None:
    """Two runs side by side, then the stop. What both have done in two thirds of the time is compared."""
    photos = bench.work / "few-photos"
    copy_photos(bench.kit / "photos", photos, 16 if bench.small else 64)
    projects = [project(bench, photos, bench.work / name, 12 if bench.small else 30) for name in ("one", "two")]
    done: list[dict[str, float]] = [{}, {}]
    peak, too_late = Peak(bench), threading.Event()
    (limit,) = (section.seconds for section in SECTIONS if section.name == "graph")
    until = time.monotonic() + limit * (PATIENCE if bench.small else 1) * 2 / 3
    threads = [
        threading.Thread(target=run_graph, args=(folder, hashes, too_late))
        for folder, hashes in zip(projects, done, strict=True)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if time.monotonic() > until:
            too_late.set()
        peak.look()
        bench.record(seconds=dict(done[0]), peak_device_bytes_of_both=peak.most)
        time.sleep(0.5)
    bench.record(seconds=done[0], **compared([_hashes(folder) for folder in projects], done))
    if STOPPED in done[1]:
        bench.attempt("stopped_and_resumed", lambda: _stopped(projects[1], _hashes(projects[0])))


def compared(hashes: Sequence[dict[str, str]], done: Sequence[Mapping[str, float]]) -> dict[str, object]:
    """Whether two runs wrote the same bytes in the stages that both have done."""
    both = set(done[0]) & set(done[1])
    own = [{name: value for name, value in run.items() if name.partition("/")[0] in both} for run in hashes]
    differing = sorted(name for name in own[0].keys() | own[1].keys() if own[0].get(name) != own[1].get(name))
    return {
        "stages_done": [len(stages) for stages in done],
        "same_bytes": bool(own[0]) and not differing,
        "differing": differing[:50],
        "sha256": hashlib.sha256(json.dumps(own[0], sort_keys=True).encode()).hexdigest(),
        "artifacts": {name: value for name, value in own[0].items() if name.endswith((".safetensors", ".json"))},
    }


def project(bench: Bench, photos: Path, folder: Path, iterations: int | None) -> Path:
    """A folder with data/ and params.yaml, where stages can be run, some iterations a training or the preset's own."""
    (folder / "data").mkdir(parents=True)
    for name in ("raw", "weights", "initial_detector", "external_proposals"):
        (folder / "data" / name).mkdir()
    shutil.copytree(ROOT / "graphs", folder / "graphs")
    changes = [f"base.deterministic={'false' if iterations is None else 'true'}", f"dataset.root={photos}"]
    changes += [f"backbone.weights={bench.weights() / 'vgg16.safetensors'}"]
    for name in TRAININGS if iterations is not None else ():
        changes += [f"{name}.iterations={iterations}", f"{name}.lr_drop_at=[]", f"{name}.warmup_iterations=1"]
    if bench.small:
        changes += [
            "base.threads=1",
            "resize.shorter_side=64",
            "resize.longer_side=100",
            "roi_head.hidden=32",
            "rpn.channels=32",
        ]
    apply_preset(folder, "voc6_vgg16", changes)
    return folder


def run_graph(folder: Path, done: dict[str, float], too_late: threading.Event) -> None:
    """Each stage as soon as those that it reads have ended well; `done` gets the seconds of each that does. After one
    that does not, or when it is too late, none is started."""
    waiting, running = needs(), dict[str, tuple[subprocess.Popen[bytes], float]]()
    has_failed = False
    while running or not (has_failed or too_late.is_set()):
        ready = [name for name, own in waiting.items() if own <= done.keys()]
        for name in [] if has_failed or too_late.is_set() else ready:
            del waiting[name]
            running[name] = (_start(folder, commands()[name]), time.monotonic())
        for name, (process, began) in list(running.items()):
            if process.poll() is not None:
                del running[name]
                if process.returncode != 0:
                    has_failed = True
                else:
                    done[name] = time.monotonic() - began
        if not running and not any(own <= done.keys() for own in waiting.values()):
            return
        time.sleep(0.02)


def _start(folder: Path, command: list[str], **environment: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": path, **environment})


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in (folder / "data").rglob("*") if path.is_file() and ".partial" not in str(path))
    own = [path for path in files if path.relative_to(folder / "data").parts[0] not in ("raw", "weights")]
    return {str(p.relative_to(folder / "data")): hashlib.sha256(p.read_bytes()).hexdigest() for p in own}


def _stopped(folder: Path, expected: dict[str, str]) -> dict[str, object]:
    """SIGTERM to step 1 as soon as it has kept a state; the run after it is to end with the bytes of the whole one."""
    command = commands()[STOPPED]
    states = folder / "data/.frcnn/scratch" / STOPPED
    process = _start(folder, command, **_STATES_OFTEN)
    while process.poll() is None and not any(states.rglob("*.json")):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    status, kept = process.wait(), len(list(states.rglob("*.json")))
    again = _start(folder, command).wait()
    found = _hashes(folder)
    own = {name for name in expected if name.startswith(f"{STOPPED}/")}
    same = bool(own) and status == 143 and again == 0 and all(found.get(name) == expected[name] for name in own)
    return {"status": status, "states_kept": kept, "status_of_the_next": again, "same_bytes": same}


class Peak:
    """The most memory of the card in use."""

    def __init__(self, bench: Bench) -> None:
        self._on_gpu, self.most = bench.device.type == "cuda", 0

    def look(self) -> None:
        if self._on_gpu:
            free, total = torch.cuda.mem_get_info()
            self.most = max(self.most, total - free)
