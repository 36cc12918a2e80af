"""A disk that fills up under one writer of each kind: one line, nothing half-written, and the rerun succeeds.

The disk is a small tmpfs in a mount namespace of the test's own, so that nothing is left of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.training.checkpoints import EVERY_ITERATIONS
from tests.conftest import ROOT, Project
from tests.fidelity.conftest import files_of
from tests.in_process import words_of

# Runs a stage on a full disk, tells what it left there, makes the disk larger, and runs it again.
_SCRIPT = """
set -u
mount -t tmpfs -o size=$SMALL tmpfs "$DISK" || exit 99
python -c "$TWICE" "$@" || exit 1
cp -r "$DISK/." "$KEEP"
"""
# Both in one process, which imports torch once.
_TWICE = """
import os, subprocess, sys
from pathlib import Path
from tests.in_process import run_command
disk = Path(os.environ["DISK"])
first = run_command(Path.cwd(), *sys.argv[1:])
left = [path for path in disk.rglob("[!.]*") if f"/{os.environ['LOOK_FOR']}" in str(path)]
print(first.stderr, f"status {first.returncode}", *(f"left {path}" for path in left), sep="\\n", file=sys.stderr)
subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
second = run_command(Path.cwd(), *sys.argv[1:])
print(second.stderr, file=sys.stderr)
sys.exit(second.returncode)
"""


def run_on_small_disk(
    project: Project, stage: str, disk: Path, out: Path, size: int, keep: Path, look_for: str
) -> subprocess.CompletedProcess[str]:
    """Run a stage as dvc.yaml wires it, but into `out`, with so many bytes free on `disk`; then again with enough."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode:
        pytest.skip("this system lends no mount namespace (unshare -Urm)")
    words = words_of(project.root, stage)
    words[words.index("--out") + 1] = str(out)
    disk.mkdir(parents=True, exist_ok=True)
    keep.mkdir()
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TWICE": _TWICE,
        "SMALL": str(size),
        "DISK": str(disk),
        "KEEP": str(keep),
        "LOOK_FOR": look_for,
        EVERY_ITERATIONS: "1",
    }
    result = subprocess.run(
        ["unshare", "-Urm", "bash", "-c", _SCRIPT, "bash", *words],
        cwd=project.root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert "status 1\n" in result.stderr
    assert result.stderr.count(f"{stage}: error: disk full while writing ") == 1, result.stderr
    return result


@pytest.fixture(scope="module")
def finished(tiny_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of a finished run, whose stages may run again."""
    project = Project(tmp_path_factory.mktemp("finished") / "project")
    shutil.copytree(tiny_run.root, project.root, symlinks=True)
    shutil.rmtree(project.root / ".dvc/tmp/frcnn", ignore_errors=True)
    return project


@pytest.mark.parametrize(
    ("stage", "share"),
    [
        pytest.param("features", 0.6, id="shards"),
        pytest.param("train_rpn_step1", 0.5, id="weights", marks=pytest.mark.long),
        pytest.param("detect_step2", 0.3, id="tables"),
        *(
            pytest.param(stage, share, marks=pytest.mark.long)
            for stage, share in (
                ("proposal_targets_step2", 0.5),
                ("dataset", 0.5),
                ("backbone", 0.5),
                ("resize", 0.7),
                ("evaluate_step2", 0.4),
            )
        ),
    ],
)
def test_a_full_disk_is_one_line_and_the_rerun_leaves_the_same_bytes(
    finished: Project, tmp_path: Path, stage: str, share: float
) -> None:
    expected = files_of(finished.data / stage)
    size = int(share * sum(len(content) for content in expected.values()))
    disk, keep = tmp_path / "disk", tmp_path / "keep"
    result = run_on_small_disk(finished, stage, disk, disk / stage, size, keep, stage)
    assert "\nleft " not in result.stderr
    assert files_of(keep / stage) == expected
    assert [path.name for path in keep.iterdir()] == [stage]


def test_a_full_disk_under_the_states_of_a_training(finished: Project, tmp_path: Path) -> None:
    stage, notes, keep = "train_rpn_step1", finished.root / ".dvc/tmp/frcnn", tmp_path / "keep"
    one_state = 2 * sum(len(content) for content in files_of(finished.data / stage).values())
    result = run_on_small_disk(finished, stage, notes, tmp_path / stage, int(1.5 * one_state), keep, "state-")
    assert "resumes from iteration" in result.stderr
    assert files_of(tmp_path / stage) == files_of(finished.data / stage)
    assert not list(keep.rglob("state-*"))
