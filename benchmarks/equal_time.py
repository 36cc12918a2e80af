"""Whose detector is better after the same wall time? Ours by `dvc repro`, torchvision's joint training beside it.

    python -m benchmarks.equal_time --seeds 0 1 2

For each seed the preset `voc6_vgg16` runs in a scratch copy of the project. Its clock runs from the start of
train_rpn_step1 to the end of the last training stage, with all that DVC and other stages do between; the time of
frozen_features, which runs before and does what the peer does in every iteration, is added. torchvision's FasterRCNN
then trains for `--seconds` on the same resized photos, from the same ImageNet trunk. Both are judged by the same
evaluation. What is measured is kept, so that a later call with other seeds adds to the table; with `--keep`, our runs
stay too, and one that is there already is not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from benchmarks.page import Row, write_section
from benchmarks.photos import given
from benchmarks.torchvision_joint import Budget, build, evaluate, train
from pipeline.artifacts.atomic import write_text
from pipeline.params.file import load_params
from pipeline.runtime.run_times import read_runs

NAME = "equal_time"
ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / ".dvc" / "tmp" / f"{NAME}.json"
TRAININGS = ("train_rpn_step1", "train_head_step2", "train_rpn_step3", "train_head_step4", "finetune_joint")
ABOUT = """
mAP at IoU .5 on the 202 test photos of voc6_mini after the same wall time, shorter side 300, two threads. Ours: the
four steps and the joint one with all stages between, the better of step 4 and joint. Peer: torchvision's FasterRCNN
trained jointly from the same trunk, in bf16 and channels_last too, with the same blocks frozen and a learning rate of
{lr:g}. Our seconds include the maps of the frozen blocks; the peer was given {seconds:.0f}.
"""


def run_ours(root: Path, photos: Path, weights: Path, seed: int) -> dict[str, float]:
    """Seconds and mAP of our run in `root`, a fresh clone."""
    frcnn = [sys.executable, "-m", "pipeline.cli"]
    environment = {**os.environ, "PYTHONPATH": str(root), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def call(*command: str) -> None:
        subprocess.run([*frcnn, *command], cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL)

    settings = (f"dataset.root={photos}", f"backbone.weights={weights}", f"base.seed={seed}")
    call("preset", "voc6_vgg16", *settings)
    call("repro", "anchor_targets", "backbone")
    # All of the training first; detection and evaluation are no part of the time.
    call("repro", "train_head_step4", "finetune_joint")
    runs = read_runs(root)
    began = min(runs[name].started for name in TRAININGS)
    ended = max(runs[name].started + runs[name].seconds for name in TRAININGS)
    call("repro", "evaluate_step4", "evaluate_joint")
    maps = {name: json.loads((root / f"data/evaluate_{name}/metrics.json").read_text()) for name in ("step4", "joint")}
    seconds = ended - began + runs["frozen_features"].seconds
    return {"seconds": seconds, **{name: figures["mAP50"] for name, figures in maps.items()}}


def run_peer(root: Path, seconds: float, lr: float, seed: int) -> dict[str, float]:
    """Images and mAP of torchvision's on the stages' artifacts in `root`."""
    params, data = load_params(root / "params.yaml"), root / "data"
    torch.manual_seed(seed)
    classes = json.loads((data / "resize" / "classes.json").read_text())
    model = build(params, data, len(classes))
    iterations, took = train(model, params, data, Budget(seconds, None), lr)
    figures = evaluate(model, params, data, len(classes))
    return {"seconds": took, "images": iterations * params.finetune_joint.images_per_iteration, **figures}


def measure(arguments: argparse.Namespace, photos: Path, weights: Path, seed: int) -> dict[str, Any]:
    """One seed, both sides."""
    with tempfile.TemporaryDirectory() if arguments.keep is None else nullcontext(arguments.keep) as folder:
        root = Path(folder) / f"seed{seed}"
        if not root.exists():
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True)
        ours = run_ours(root, photos, weights, seed)
        print(f"seed {seed}, ours: {ours}", flush=True)
        peer = run_peer(root, arguments.seconds, arguments.lr, seed)
        print(f"seed {seed}, torchvision: {peer}", flush=True)
    return {"ours": ours, "peer": peer, "lr": arguments.lr}


def best_of(run: Mapping[str, Any]) -> float:
    """The mAP of our better network."""
    return max(run["ours"]["step4"], run["ours"]["joint"])


def table_of(kept: Mapping[str, Any]) -> str:
    """A line a seed, and the means with their standard deviations."""
    lines = ["| seed | step 4 | joint | our seconds | torchvision | its images |", "| --- " * 6 + "|"]
    for seed, run in sorted(kept.items()):
        ours, peer = run["ours"], run["peer"]
        figures = f"{ours['step4']:.3f} | {ours['joint']:.3f} | {ours['seconds']:.0f}"
        lines.append(f"| {seed} | {figures} | {peer['mAP50']:.3f} | {peer['images']:,.0f} |")
    best = _mean_and_spread([best_of(run) for run in kept.values()])
    theirs = _mean_and_spread([run["peer"]["mAP50"] for run in kept.values()])
    return "\n".join([*lines, f"| mean | best of both {best} | | | {theirs} | |"])


def _mean_and_spread(values: Sequence[float]) -> str:
    spread = f" (standard deviation {statistics.stdev(values):.3f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def rows_of(kept: Mapping[str, Any]) -> list[Row]:
    """The bars. Points of mAP are those that are missed, as smaller is better there."""
    missed = statistics.mean(1 - best_of(run) for run in kept.values())
    missed_by_peer = statistics.mean(1 - run["peer"]["mAP50"] for run in kept.values())
    longest = max(run["ours"]["seconds"] for run in kept.values())
    return [
        Row("mean of the mAP missed, ours", [missed], bar=0.38, unit=""),
        Row("the same of torchvision", [missed_by_peer], unit=""),
        Row("our longest run", [longest], bar=720.0, unit="s"),
    ]


def main() -> None:
    shared = ROOT.parent / "shared"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="none: only write the section anew")
    parser.add_argument("--seconds", type=float, default=720.0, help="wall time of the peer's training")
    parser.add_argument("--lr", type=float, default=0.008, help="the peer's learning rate")
    parser.add_argument("--photos", type=Path, default=shared / "data/voc6_mini", help="a VOC tree")
    parser.add_argument("--weights", type=Path, default=shared / "weights", help="a folder with ImageNet's VGG16")
    parser.add_argument("--keep", type=Path, help="a folder in which our finished runs stay")
    arguments = parser.parse_args()
    photos, weights = given(NAME, arguments)
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    for seed in arguments.seeds:
        kept[str(seed)] = measure(arguments, photos, weights, seed)
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        write_text(KEPT, json.dumps(kept, indent=2) + "\n")
    about = ABOUT.format(lr=arguments.lr, seconds=arguments.seconds) + "\n" + table_of(kept)
    write_section(NAME, "Accuracy after the same wall time", about, rows_of(kept))


if __name__ == "__main__":
    main()
