"""A project last run by another version reports which stages rerun; a fresh clone and an edit report nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from pipeline.orchestrate import repro
from pipeline.orchestrate.code_stage import md5_of
from pipeline.orchestrate.version_change import version_change
from pipeline.runtime.code_locks.lock import CodeLock
from pipeline.runtime.own_code import lock_path
from pipeline.runtime.run_times import record_run
from pipeline.runtime.version import current_version
from tests.orchestrate.conftest import Toy

NOTES = ".dvc/tmp/frcnn-stages"


def lock_of(name: str, code: str) -> CodeLock:
    return CodeLock(f"stages.{name}", {}, {f"stages/{name}.py": code})


@pytest.fixture
def project(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two stages that have run, `one` of code that has changed since, `two` of code that has not."""
    names = ("one", "two")
    stages = {name: {"cmd": f"python -m stages.{name}", "deps": [lock_path(name), "data/raw"]} for name in names}
    toy.write({"code": {"cmd": "python -m stages.code", "outs": list(map(lock_path, names))}, **stages})
    ran = {}
    for name in names:
        deps = [
            {"path": "data/raw", "md5": "0" * 32, "size": 1},
            {"path": lock_path(name), "md5": md5_of(lock_of(name, "old")), "size": 1},
        ]
        ran[name] = {"cmd": f"python -m stages.{name}", "deps": deps}
    (toy.root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": ran}))
    now = {lock_path("one"): lock_of("one", "new"), lock_path("two"): lock_of("two", "old")}
    monkeypatch.setattr("pipeline.orchestrate.version_change.current_locks", lambda root: now)
    return toy.root


def note(root: Path, stage: str, **version: str) -> None:
    """What a version leaves when it has run a stage; none before 0.2.0 wrote which one it was."""
    (root / NOTES).mkdir(parents=True, exist_ok=True)
    content = {"started": 1.8e9, "seconds": 1.0, "peak_mb": 100.0, **version}
    (root / NOTES / f"{stage}.json").write_text(json.dumps(content))


@pytest.mark.parametrize(("version", "name"), [({}, "0.1.0"), ({"version": "0.1.7"}, "0.1.7")])
def test_stages_of_another_version_whose_code_has_changed_are_counted(
    project: Path, version: dict[str, str], name: str
) -> None:
    for stage in ("one", "two"):
        note(project, stage, **version)
    line = version_change(project)
    expected = f"1 stage of 2 last ran with version {name} and will rerun with this one, {current_version()}; see "
    assert line is not None and line.startswith(expected) and "\n" not in line


def test_where_a_version_is_unknown_nothing_is_claimed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note(project, "one", version="unknown")
    assert version_change(project) is None
    note(project, "one")
    assert version_change(project)
    monkeypatch.setattr("pipeline.orchestrate.version_change.current_version", lambda: "unknown")
    assert version_change(project) is None


def test_a_stage_that_ran_before_there_were_locks_counts(project: Path) -> None:
    note(project, "two")
    assert version_change(project) is None
    ran = yaml.safe_load((project / "dvc.lock").read_text())
    ran["stages"]["two"]["deps"] = [{"path": "pipeline/runtime/errors.py", "md5": "0" * 32}]
    (project / "dvc.lock").write_text(yaml.safe_dump(ran))
    assert "1 stage of 2" in (version_change(project) or "")


def test_when_the_stage_has_rerun_nothing_is_said_any_more(project: Path) -> None:
    note(project, "one")
    assert version_change(project)
    record_run(project, "one", 1.8e9, 1.0)
    assert version_change(project) is None


def test_a_fresh_clone_and_a_project_without_lock_are_silent(project: Path) -> None:
    assert version_change(project) is None, "no stage has run here"
    note(project, "one")
    (project / "dvc.lock").unlink()
    assert version_change(project) is None


@pytest.mark.parametrize("name", ["dvc.lock", "dvc.yaml"])
@pytest.mark.parametrize(
    "text", ["", "stages:\n", "stages: [one]", "stages:\n  one:\n    cm", "stages: {one: {deps: 3}}", "["]
)
def test_what_is_wrong_with_a_file_is_left_to_dvc(project: Path, name: str, text: str) -> None:
    note(project, "one")
    (project / name).write_text(text)
    assert version_change(project) is None


def test_repro_prints_it_before_dvc_starts(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note(project, "one")
    started: list[list[str]] = []
    monkeypatch.chdir(project)
    monkeypatch.setenv("FRCNN_PRELOAD", "0")
    monkeypatch.setattr(os, "execve", lambda path, command, environment: started.append(command))
    repro.run_repro(project, [])
    assert len(started) == 1
    assert capsys.readouterr().err.count("CHANGELOG.md") == 1
