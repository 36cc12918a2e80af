"""Our side of `benchmarks.equal_time`: a preset in a scratch copy of the project, its wall time and its figures."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.guarded_run import run_module
from benchmarks.pieces import Record
from pipeline.runtime.errors import InputError
from pipeline.runtime.run_times import read_runs

ROOT = Path(__file__).resolve().parents[1]
TRAININGS = ("train_rpn_step1", "train_head_step2", "train_rpn_step3", "train_head_step4", "finetune_joint")
NETWORKS = ("step4", "joint")


@dataclass(frozen=True)
class Scratch:
    """A copy of the project's last commit with a preset, in the folder `root`.

    Attributes:
        preset, settings: what `frcnn preset` is given.
    """

    root: Path
    preset: str
    settings: Sequence[str]

    def make(self) -> None:
        """A fresh copy; one that is there is removed, as the time of a run that was cut short means nothing.

        Raises:
            InputError: the folder holds something else, or the preset refuses its settings.
        """
        if self.root.exists():
            if not (self.root / "params.yaml").is_file() or not (self.root / ".dvc").is_dir():
                raise InputError(f"{self.root}: holds no copy of the project; remove it, or give --keep another folder")
            shutil.rmtree(self.root)
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.root)], check=True)
        self.frcnn("preset", self.preset, *self.settings)

    def frcnn(self, *command: str) -> None:
        """Run a command of the copy's own `frcnn`.

        Raises:
            InputError: it has failed; it has said why.
        """
        run_module("pipeline.cli", command, cwd=self.root, code=self.root)

    def run(self) -> Record:
        """Seconds of the training, and mAP50 and AP of both networks.

        The clock runs from the start of the first training stage to the end of the last, with all that runs between
        them; the time of frozen_features, which runs before and does what the peer does in every iteration, is added.
        """
        self.frcnn("repro", "anchor_targets", "backbone")
        # All of the training first; detection and evaluation are no part of the time.
        self.frcnn("repro", "train_head_step4", "finetune_joint")
        runs = read_runs(self.root)
        began = min(runs[name].started for name in TRAININGS)
        ended = max(runs[name].started + runs[name].seconds for name in TRAININGS)
        self.frcnn("repro", *(f"evaluate_{name}" for name in NETWORKS))
        seconds = ended - began + runs["frozen_features"].seconds
        return {"seconds": round(seconds, 1), **{name: self._figures(name) for name in NETWORKS}}

    def prepare(self) -> None:
        """What a peer reads: the tables, the resized images and the first weights."""
        self.frcnn("repro", "resize", "backbone")

    def _figures(self, network: str) -> dict[str, float]:
        metrics = json.loads((self.root / f"data/evaluate_{network}/metrics.json").read_text(encoding="utf-8"))
        return {name: metrics[name] for name in ("mAP50", "AP")}


def commit() -> str:
    """The commit that copies are of, short."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return found.stdout.strip()
