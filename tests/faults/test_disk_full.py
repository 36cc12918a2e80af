"""A disk that fills up under one writer of each kind: one line, nothing half-written, and the rerun succeeds.

The disk is a small tmpfs in a mount namespace of the test's own, so that nothing is left of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.runtime.variables import EVERY_ITERATIONS
from tests.conftest import ROOT, Project
from tests.fidelity.conftest import files_of
from tests.in_process import words_of

TRAINING = "train_rpn_step1"

# Runs each stage on a full disk, reports what it left there, makes the disk larger, and runs it again. All in one
# process, which imports torch once.
_SCRIPT = """
import json, shutil, subprocess, sys
from pathlib import Path
from tests.in_process import run_command
for job in json.loads(sys.argv[1]):
    disk = Path(job["disk"])
    for folder in (disk, Path(job["out"]).parent):
        folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={job['size']}", "tmpfs", disk], check=True)
    first = run_command(Path.cwd(), *job["words"])
    left = [path for path in disk.rglob("[!.]*") if f"/{job['look_for']}" in str(path)]
    subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
    second = run_command(Path.cwd(), *job["words"])
    shutil.copytree(disk, job["keep"])
    subprocess.run(["umount", "-l", disk], check=True)
    print(json.dumps({"first": vars(first), "left": list(map(str, left)), "second": vars(second)}))
"""


@dataclass(frozen=True)
class Job:
    """A stage as dvc.yaml wires it, but with its output in `out`: on a disk with room for so many bytes, and then again
    with enough. What is on the disk at the end is in `keep`."""

    stage: str
    disk: Path
    out: Path
    size: int
    keep: Path
    look_for: str
    """Files of this name are what the stage was to write."""


def run_on_small_disks(project: Project, *jobs: Job) -> list[dict[str, Any]]:
    """How each stage ended first and then, and what was left between."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode:
        pytest.skip("this system lends no mount namespace (unshare -Urm)")
    asked = []
    for job in jobs:
        words = words_of(project.root, job.stage)
        words[words.index("--out") + 1] = str(job.out)
        asked.append({**{name: str(value) for name, value in vars(job).items()}, "words": words})
    result = subprocess.run(
        ["unshare", "-Urm", sys.executable, "-c", _SCRIPT, json.dumps(asked)],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": str(ROOT), EVERY_ITERATIONS: "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def assert_one_line_and_a_good_rerun(told: dict[str, Any], stage: str) -> None:
    first, second = told["first"], told["second"]
    assert (first["returncode"], second["returncode"]) == (1, 0), second["stderr"]
    assert "Traceback" not in first["stderr"] + second["stderr"]
    assert (first["stderr"] + second["stderr"]).count(f"{stage}: error: disk full while writing ") == 1


@pytest.fixture(scope="module")
def finished(tiny_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of a finished run, whose stages may run again."""
    project = Project(tmp_path_factory.mktemp("finished") / "project")
    shutil.copytree(tiny_run.root, project.root, symlinks=True)
    shutil.rmtree(project.root / ".dvc/tmp/frcnn", ignore_errors=True)
    return project


def of_outputs(finished: Project, folder: Path, stage: str, share: float) -> Job:
    """A disk that holds a share of what a stage writes."""
    size = int(share * sum(len(content) for content in files_of(finished.data / stage).values()))
    return Job(stage, folder / "disk", folder / "disk" / stage, size, folder / "keep", stage)


def of_states(finished: Project, folder: Path) -> Job:
    """A disk that holds a state of a training and a half."""
    one = 2 * sum(len(content) for content in files_of(finished.data / TRAINING).values())
    return Job(TRAINING, finished.root / ".dvc/tmp/frcnn", folder / TRAINING, int(1.5 * one), folder / "keep", "state-")


SHARES = {"features": 0.6, "detect_step2": 0.3}
"""One stage that writes shards, and one that writes tables."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disks")


@pytest.fixture(scope="module")
def told(finished: Project, folder: Path) -> dict[str, dict[str, Any]]:
    """By stage, how those of `SHARES` and a training on a disk for its states ended."""
    jobs = [of_outputs(finished, folder / f"of_{stage}", stage, share) for stage, share in SHARES.items()]
    jobs.append(of_states(finished, folder / TRAINING))
    return dict(zip((*SHARES, TRAINING), run_on_small_disks(finished, *jobs), strict=True))


def assert_the_rest_is_as_undisturbed(finished: Project, told: dict[str, Any], stage: str, keep: Path) -> None:
    assert_one_line_and_a_good_rerun(told, stage)
    assert told["left"] == []
    assert files_of(keep / stage) == files_of(finished.data / stage)
    assert [path.name for path in keep.iterdir()] == [stage]


@pytest.mark.parametrize("stage", SHARES)
def test_a_full_disk_is_one_line_and_the_rerun_leaves_the_same_bytes(
    finished: Project, folder: Path, told: dict[str, dict[str, Any]], stage: str
) -> None:
    assert_the_rest_is_as_undisturbed(finished, told[stage], stage, folder / f"of_{stage}" / "keep")


@pytest.mark.long
@pytest.mark.parametrize(
    ("stage", "share"),
    [
        ("train_rpn_step1", 0.5),
        ("proposal_targets_step2", 0.5),
        ("dataset", 0.5),
        ("backbone", 0.5),
        ("resize", 0.7),
        ("evaluate_step2", 0.4),
    ],
)
def test_a_full_disk_under_any_other_writer(finished: Project, tmp_path: Path, stage: str, share: float) -> None:
    [own] = run_on_small_disks(finished, of_outputs(finished, tmp_path, stage, share))
    assert_the_rest_is_as_undisturbed(finished, own, stage, tmp_path / "keep")


def test_a_full_disk_under_the_states_of_a_training(
    finished: Project, folder: Path, told: dict[str, dict[str, Any]]
) -> None:
    own = told[TRAINING]
    assert_one_line_and_a_good_rerun(own, TRAINING)
    assert "resumes from iteration" in own["second"]["stderr"]
    assert files_of(folder / TRAINING / TRAINING) == files_of(finished.data / TRAINING)
    assert not list((folder / TRAINING / "keep").rglob("state-*"))
