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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.gpu_kit import copy_photos
from benchmarks.gpu_truth.bench import Bench
from benchmarks.gpu_truth.sections import PATIENCE, SECTIONS
from pipeline.presets.apply import apply_preset
from pipeline.runtime.variables import EVERY_ITERATIONS, EVERY_MINUTES

ROOT = Path(__file__).resolve().parents[2]
STOPPED = "train_rpn_step1"
TRAININGS = (STOPPED, "train_head_step2", "train_rpn_step3", "train_head_step4", "finetune_joint")
# A state as often as possible, by either of the two variables.
_STATES_OFTEN = {EVERY_ITERATIONS: "1", EVERY_MINUTES: "0.0001"}


def commands(root: Path = ROOT) -> dict[str, list[str]]:
    """What each stage of the dvc.yaml in `root` runs, in order, by this Python."""
    found = {}
    for name, stage in _stages(root).items():
        first, *rest = stage["cmd"].split()
        assert first == "python", f"{name} is run by {first}"
        found[name] = [sys.executable, *rest]
    return found


def needs(root: Path = ROOT) -> dict[str, set[str]]:
    """Of each stage of the dvc.yaml in `root`, the stages whose folders it reads."""
    stages = _stages(root)
    return {
        name: {dep.split("/")[1] for dep in stage.get("deps", ())} & stages.keys() for name, stage in stages.items()
    }


def _stages(root: Path) -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return stages


def run(bench: Bench) -> None:
    """Two runs side by side, then the stop. What both have done in two thirds of the time is compared."""
    photos = bench.work / "few-photos"
    copy_photos(bench.kit / "photos", photos, 16 if bench.small else 64)
    projects = [project(bench, photos, bench.work / name, 12 if bench.small else 30) for name in ("one", "two")]
    peak = Peak(bench)

    def record(done: Sequence[Mapping[str, float]]) -> None:
        peak.look()
        bench.record(seconds=dict(done[0]), peak_device_bytes_of_both=peak.most)

    done = run_graphs(projects, section_ends(bench, "graph", 2 / 3), record)
    bench.record(seconds=done[0], **compared([hashes_of(folder) for folder in projects], done))
    if all(STOPPED in own for own in done):
        bench.attempt("stopped_and_resumed", lambda: stopped(projects[1], STOPPED, hashes_of(projects[0])))


def section_ends(bench: Bench, name: str, share: float) -> float:
    """By the monotonic clock, when a share of the time of a section that starts now is over."""
    (limit,) = (section.seconds for section in SECTIONS if section.name == name)
    return time.monotonic() + limit * (PATIENCE if bench.small else 1) * share


def run_graphs(
    projects: Sequence[Path], until: float, watch: Callable[[Sequence[Mapping[str, float]]], None]
) -> list[dict[str, float]]:
    """Run the graphs of projects side by side; the seconds of each stage done, one mapping per project.

    Args:
        until: when, by the monotonic clock, no further stage is started.
        watch: called twice a second with what is done so far.
    """
    done: list[dict[str, float]] = [{} for _ in projects]
    too_late = threading.Event()
    threads = [
        threading.Thread(target=run_graph, args=(folder, seconds, too_late))
        for folder, seconds in zip(projects, done, strict=True)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if time.monotonic() > until:
            too_late.set()
        watch(done)
        time.sleep(0.5)
    return done


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


def project(bench: Bench, photos: Path, folder: Path, iterations: int | None, *settings: str) -> Path:
    """A project of `voc6_vgg16`, some iterations a training or the preset's own."""
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
    return new_project(folder, "voc6_vgg16", [*changes, *settings])


def new_project(folder: Path, preset: str, changes: Sequence[str]) -> Path:
    """A folder with data/, dvc.yaml and params.yaml of a preset with changes, where its stages can be run."""
    (folder / "data").mkdir(parents=True)
    for name in ("raw", "weights", "initial_detector", "external_proposals"):
        (folder / "data" / name).mkdir()
    shutil.copytree(ROOT / "graphs", folder / "graphs")
    apply_preset(folder, preset, changes)
    return folder


def run_graph(folder: Path, done: dict[str, float], too_late: threading.Event) -> None:
    """Each stage as soon as those that it reads have ended well; `done` gets the seconds of each that does. After one
    that does not, or when it is too late, none is started."""
    waiting, own_commands = needs(folder), commands(folder)
    running = dict[str, tuple[subprocess.Popen[bytes], float]]()
    has_failed = False
    while running or not (has_failed or too_late.is_set()):
        ready = [name for name, own in waiting.items() if own <= done.keys()]
        for name in [] if has_failed or too_late.is_set() else ready:
            del waiting[name]
            running[name] = (_start(folder, own_commands[name]), time.monotonic())
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
    return subprocess.Popen(command, cwd=folder, env={**environment_of_stages(), **environment})


def environment_of_stages() -> dict[str, str]:
    """The environment in which stages find this project's code from anywhere."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


def hashes_of(folder: Path) -> dict[str, str]:
    """SHA-256 by path of what the stages of a project wrote."""
    files = sorted(path for path in (folder / "data").rglob("*") if path.is_file() and ".partial" not in str(path))
    own = [path for path in files if path.relative_to(folder / "data").parts[0] not in ("raw", "weights")]
    return {str(p.relative_to(folder / "data")): hashlib.sha256(p.read_bytes()).hexdigest() for p in own}


def stopped(folder: Path, name: str, expected: dict[str, str]) -> dict[str, object]:
    """SIGTERM to a training as soon as it has kept a state; the run after it is to end with the bytes of the whole
    one."""
    command = commands(folder)[name]
    states = folder / "data/.frcnn/scratch" / name
    process = _start(folder, command, **_STATES_OFTEN)
    while process.poll() is None and not any(states.rglob("*.json")):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    status, kept = process.wait(), len(list(states.rglob("*.json")))
    again = _start(folder, command).wait()
    found = hashes_of(folder)
    own = {path for path in expected if path.startswith(f"{name}/")}
    same = bool(own) and status == 143 and again == 0 and all(found.get(path) == expected[path] for path in own)
    return {"status": status, "states_kept": kept, "status_of_the_next": again, "same_bytes": same}


class Peak:
    """The most memory of the card in use."""

    def __init__(self, bench: Bench) -> None:
        self._on_gpu, self.most = bench.device.type == "cuda", 0

    def look(self) -> None:
        if self._on_gpu:
            free, total = torch.cuda.mem_get_info()
            self.most = max(self.most, total - free)
