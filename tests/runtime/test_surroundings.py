"""What a stranger's machine may lack: a git repository, a name for the user, the activated environment."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.orchestrate.repro import run_repro
from pipeline.runtime.errors import InputError
from pipeline.runtime.surroundings import check_repository, name_user
from tests.conftest import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "a b/.dvc").mkdir(parents=True)
    return tmp_path / "a b"


def test_a_project_without_git_names_the_line_that_makes_it_one(project: Path) -> None:
    with pytest.raises(InputError, match=r"no git repository here.*; run git init '.*/a b'$") as told:
        run_repro(project, [])
    subprocess.run(str(told.value).partition("; run ")[2], shell=True, check=True, capture_output=True)
    check_repository(project)


def test_a_project_below_a_repository_is_in_git(project: Path) -> None:
    subprocess.run(["git", "init", "-q", str(project.parent)], check=True)
    check_repository(project)


def test_a_project_that_dvc_uses_without_git_needs_none(project: Path) -> None:
    (project / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    check_repository(project)


def test_a_repository_of_another_user_names_the_line_that_trusts_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(project / "gitconfig"))
    with pytest.raises(InputError, match=r"run git config --global --add safe.directory '.*/a b'$") as told:
        check_repository(project)
    subprocess.run(str(told.value).partition("; run ")[2], shell=True, check=True)
    check_repository(project)


def test_a_machine_without_git_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(project))
    with pytest.raises(InputError, match=r"^git: No such file or directory; install it"):
        check_repository(project)


def _nobody(uid: int) -> None:
    raise KeyError(uid)


def test_a_user_without_a_name_or_home_is_given_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pwd, "getpwuid", _nobody)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for own in ({}, {"HOME": "/nowhere/at/all"}):
        name_user(own)
        assert own["USER"] == f"user{os.getuid()}" and os.access(own["HOME"], os.W_OK)
    own = {"LOGNAME": "a", "HOME": str(tmp_path)}
    name_user(own)
    assert own == {"LOGNAME": "a", "HOME": str(tmp_path)}


@pytest.mark.parametrize("text", ["base: [1", "base: 1\nbase: 2"])
def test_a_params_file_that_is_no_yaml_is_told_before_dvc_starts(project: Path, text: str) -> None:
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    (project / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=r"params\.yaml: not valid YAML \(line 2, column 1"):
        run_repro(project, [])


def _without_packages(tmp_path: Path) -> list[str]:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/__init__.py").write_text((ROOT / "stages/__init__.py").read_text())
    (tmp_path / "stages/a.py").write_text("import sys, numpy\nprint(sys.prefix, *sys.argv[1:])\n")
    # An interpreter of its own installation, -S: without its packages.
    return [sys._base_executable, "-S", "-m", "stages.a", "--out", "x y"]  # type: ignore[attr-defined]


def test_a_stage_started_by_another_python_finds_the_environment(tmp_path: Path) -> None:
    command = _without_packages(tmp_path)
    environment = tmp_path / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin/python").write_text(f'#!/bin/sh\nshift\nexec "{sys.executable}" "$@"\n')
    (environment / "bin/python").chmod(0o755)
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.stdout == f"{sys.prefix} --out x y\n", result.stderr


def test_ctrl_c_while_a_stage_is_imported_ends_it_without_a_traceback(tmp_path: Path) -> None:
    _without_packages(tmp_path)
    (tmp_path / "stages/a.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    command = [sys.executable, "-m", "stages.a"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")
    ignoring = f"import signal, subprocess; signal.signal(2, signal.SIG_IGN); subprocess.run({command}, check=True)"
    subprocess.run([sys.executable, "-c", ignoring], cwd=tmp_path, check=True)


def test_an_environment_that_is_none_is_not_handed_to_again_and_again(tmp_path: Path) -> None:
    command = _without_packages(tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(command[0])  # its pyvenv.cfg is gone
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1 and "lacks cv2, numpy, pyarrow" in result.stderr


def test_where_there_is_no_environment_one_line_says_how_to_make_it(tmp_path: Path) -> None:
    command = _without_packages(tmp_path)
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert "lacks cv2, numpy, pyarrow" in result.stderr and "source .venv/bin/activate" in result.stderr
