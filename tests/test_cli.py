"""What the command line makes of exceptions: one line and status 1, or a traceback for faults of the program."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tomllib
from pathlib import Path

import cv2
import pytest

from pipeline import cli
from pipeline.runtime.errors import InputError
from pipeline.runtime.variables import EVERY_ITERATIONS, EVERY_MINUTES, LOADERS, PROCESSES
from tests.conftest import ROOT
from tests.in_process import run_frcnn


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("a.txt: no such file"), "a.txt: no such file"),
        (MemoryError(), "out of memory; give smaller images"),
        (cv2.error("(-4:Insufficient memory) no 8 bytes"), "out of memory ((-4:Insufficient memory) no 8 bytes); give"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
            "disk full ([Errno 28] No space left on device); free space",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "a.png"), "a.png: Permission denied; check that it can be"),
        (OSError(errno.EROFS, "Read-only file system", b"\xff.png"), r"\xff.png: Read-only file system; check that"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "a", None, "b"), "b: Is a directory; check that it can be"),
    ],
)
def test_what_is_no_fault_of_the_program_ends_in_one_line(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    told = capsys.readouterr().err
    assert caught.value.code == 1 and told.startswith(f"frcnn: error: {line}") and told.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "wrong", "remedy"),
    [
        (PROCESSES, "0", "give a whole number from 1 to 512, or leave it out for 1"),
        (LOADERS, "two", "give a whole number from 0 to 512, or leave it out for a thread"),
        (EVERY_MINUTES, "often", "give a finite number above 0, or leave it out for 5"),
        (EVERY_ITERATIONS, "0", "give a whole number above 0, or leave it out"),
    ],
)
@pytest.mark.parametrize("verb", ["repro", "flow", "worker", "worker --pool cpu", "ablations"])
def test_a_wrong_variable_is_refused_before_any_stage_runs(
    verb: str, name: str, wrong: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, wrong)
    ended = run_frcnn(tmp_path, *verb.split())
    assert (ended.returncode, ended.stderr) == (1, f"frcnn: error: {name}={wrong}: {remedy}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyError("a"), OSError("boom")])
def test_a_fault_of_the_program_keeps_its_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(type(error)):
        cli.main()


@pytest.mark.parametrize("file", ["params.yaml", "dvc.yaml"])
def test_a_preset_that_cannot_be_written_ends_in_one_line(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "graphs", tmp_path / "graphs")
    (tmp_path / file).mkdir()
    monkeypatch.setattr("sys.argv", ["frcnn", "preset", "default"])
    with pytest.raises(SystemExit):
        cli.main()
    assert f"{file}: Is a directory; check that it can be read and written" in capsys.readouterr().err


def test_the_version_is_that_of_pyproject(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["frcnn", "--version"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr().out.strip()
    assert not ended.value.code
    assert printed == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    latest = re.search(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert latest is not None and latest[1] == printed, "CHANGELOG.md begins with another version"
