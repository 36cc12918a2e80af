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
from pipeline.compare.training_stages import stages_before
from pipeline.families.family import Family
from pipeline.runtime.errors import InputError
from pipeline.runtime.run_times import read_runs

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Scratch:
    """A copy of the project's last commit with a preset, in the folder `root`.

    Attributes:
        preset, settings: what `frcnn preset` is given. family: the preset's.
    """

    root: Path
    preset: str
    settings: Sequence[str]
    family: Family

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
        """Seconds of the training, and mAP50 and AP of each network.

        The clock runs from the start of the first of the family's own stages that a network needs to the end of the
        last, with all that runs between them: targets, kept maps and proposals are part of the training.
        """
        networks = trained_networks(self.family)
        self.frcnn("repro", "resize", "backbone")
        # All of the training first; the time has no detection and no evaluation in it.
        stages = {stage for name in networks for stage in stages_before(self.root, self.family.name, f"detect_{name}")}
        self.frcnn("repro", *sorted(stages))
        runs = read_runs(self.root)
        began = min(runs[name].started for name in stages)
        ended = max(runs[name].started + runs[name].seconds for name in stages)
        self.frcnn("repro", *(f"evaluate_{name}" for name in networks))
        return {"seconds": round(ended - began, 1), **{name: self._figures(name) for name in networks}}

    def prepare(self) -> None:
        """What a peer reads: the tables, the resized images and the first weights."""
        self.frcnn("repro", "resize", "backbone")

    def _figures(self, network: str) -> dict[str, float]:
        metrics = json.loads((self.root / f"data/evaluate_{network}/metrics.json").read_text(encoding="utf-8"))
        return {name: metrics[name] for name in ("mAP50", "AP")}


def trained_networks(family: Family) -> list[str]:
    """The networks of a family that its training makes and that are one network each."""
    return [
        name for name in family.bundled if not family.training.keys().isdisjoint(family.networks[name].parts.values())
    ]


def commit() -> str:
    """The commit that copies are of, short."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return found.stdout.strip()
