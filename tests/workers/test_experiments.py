"""What workers have done for many experiments, in DVC's own list of them."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.metrics.recall import SIZES
from pipeline.orchestrate.code_stage import current_locks
from pipeline.orchestrate.graph import LockFile
from pipeline.orchestrate.lock_entries import LockEntry
from pipeline.runtime.errors import InputError
from pipeline.workers.deciding import COMMON_FIGURES
from pipeline.workers.experiments import keep_experiments, kept_figures
from pipeline.workers.setting import Setting, present_setting
from tests.conftest import Project
from tests.workers.cluster import git


@pytest.fixture(scope="module")
def committed(tiny_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished run whose files, but not its dvc.lock, are in one commit."""
    root = tmp_path_factory.mktemp("committed") / "project"
    shutil.copytree(tiny_run.root, root, symlinks=True)
    git(root, "add", "--all", ":!dvc.lock")
    git(root, "commit", "--quiet", "--message", "All")
    return Project(root)


def keep(project: Project, **changes: dict[str, object]) -> None:
    setting, lock = present_setting(project.root), LockFile(project.root).stages()
    keep_settings(project, {name: setting.changed(own) for name, own in changes.items()}, lock)


def keep_settings(project: Project, settings: Mapping[str, Setting], lock: Mapping[str, LockEntry]) -> None:
    code = {path: own.text() for path, own in current_locks(project.root).items()}
    keep_experiments(project.root, settings, lambda _: lock, code, lambda _: None)


def shown(project: Project) -> dict[str, dict[str, str]]:
    """The rows of `dvc exp show`, by the name of the experiment."""
    result = project.run("dvc", "exp", "show", "--csv")
    assert result.returncode == 0, result.stderr
    return {row["Experiment"]: row for row in csv.DictReader(io.StringIO(result.stdout))}


def test_dvc_shows_their_parameters_and_figures_and_the_workspace_stays(committed: Project) -> None:
    before = [(committed.root / name).read_bytes() for name in ("params.yaml", "dvc.lock")]
    keep(committed, low={"train_head_step4.lr": 0.0625}, high={"train_head_step4.lr": 0.125})
    rows = shown(committed)
    assert [rows[name]["train_head_step4.lr"] for name in ("low", "high")] == ["0.0625", "0.125"]
    column = next(name for name in rows["low"] if name.endswith("evaluate_step4/metrics.json:mAP50"))
    figures = kept_figures(committed.root)["low"]["step4"]
    assert float(rows["low"][column]) == pytest.approx(figures["mAP50"], abs=1e-4)
    assert figures["images"] == 6
    recall = ("proposal_recall50", *(f"proposal_recall50_{size}" for size in SIZES))
    # Those that have a number: null where no gt box is of the size.
    assert {*COMMON_FIGURES, "proposal_recall50"} <= set(figures) <= {*COMMON_FIGURES, *recall}
    assert before == [(committed.root / name).read_bytes() for name in ("params.yaml", "dvc.lock")]
    assert committed.run("git", "status", "--porcelain").stdout == "?? dvc.lock\n"
    assert committed.run("git", "branch", "--list").stdout.count("\n") == 1


def test_one_of_the_same_name_takes_the_place_of_the_first(committed: Project) -> None:
    keep(committed, again={"train_head_step4.lr": 0.25})
    keep(committed, again={"train_head_step4.lr": 0.5})
    assert shown(committed)["again"]["train_head_step4.lr"] == "0.5"


def test_it_can_be_applied_to_the_workspace(committed: Project) -> None:
    keep(committed, apply={"train_head_step4.lr": 0.375})
    (committed.root / "dvc.lock").unlink()
    result = committed.run("dvc", "exp", "apply", "apply")
    assert result.returncode == 0, result.stderr
    assert "lr: 0.375" in (committed.root / "params.yaml").read_text()
    assert "train_head_step4" in committed.lock()


def test_when_it_is_applied_nothing_is_left_to_run(committed: Project, tiny_run: Project, tmp_path: Path) -> None:
    project = Project(Path(shutil.copytree(committed.root, tmp_path / "project", symlinks=True)))
    for key in ("user.name", "user.email"):  # dvc exp apply needs them, and a machine may have none
        project.run("git", "config", key, "somebody")
    shutil.copyfile(tiny_run.root / "dvc.lock", project.root / "dvc.lock")
    lock, setting = project.lock(), present_setting(tiny_run.root)
    ran = {name: entry for name, entry in lock.items() if name != "code"}  # as workers leave it, who run no stage code
    keep_settings(project, {"same": setting}, ran)
    (project.root / "dvc.lock").unlink()
    shutil.rmtree(project.data / "code")
    result = project.run("dvc", "exp", "apply", "same")
    assert result.returncode == 0, result.stderr
    assert project.lock() == lock
    assert project.repro() == []


def test_figures_come_from_the_remote_alone_and_where_they_are_nowhere_it_is_told(
    committed: Project, tmp_path: Path
) -> None:
    project = Project(Path(shutil.copytree(committed.root, tmp_path / "project", symlinks=True)))
    metrics = [
        out["md5"]
        for network in ("step2", "step4", "joint")
        for out in LockFile(project.root).stages()[f"evaluate_{network}"]["outs"]
        if out["path"].endswith("metrics.json")
    ]
    files = project.root / ".dvc/cache/files/md5"
    remote = tmp_path / "remote"
    for digest in metrics:
        (remote / "files/md5" / digest[:2]).mkdir(parents=True, exist_ok=True)
        (files / digest[:2] / digest[2:]).rename(remote / "files/md5" / digest[:2] / digest[2:])
    with pytest.raises(InputError, match="not in the cache"):
        keep(project, one={})
    project.run("dvc", "remote", "add", "--local", "--default", "store", str(remote))
    keep(project, one={})
    assert all((files / digest[:2] / digest[2:]).is_file() for digest in metrics)
    shutil.rmtree(remote / "files")
    (files / metrics[0][:2] / metrics[0][2:]).unlink()
    with pytest.raises(InputError, match="not in the remote"):
        keep(project, one={})
