"""What `frcnn repro` leaves out of DVC's lines, and its status where it was stopped."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.commands.repro import CmdRepro
from dvc.exceptions import ReproductionError
from dvc.repo import Repo, scm_context
from dvc.stage.exceptions import StageCmdFailedError

from pipeline.orchestrate import quiet_dvc
from pipeline.orchestrate.quiet_dvc import is_worth_logging
from tests.conftest import ROOT
from tests.forked import run_forked


@pytest.mark.parametrize(
    ("text", "place", "kept"),
    [
        ("'%s' is empty.", "data/raw", False),
        ("'%s' is empty.", "data/external_proposals", False),
        ("'%s' is empty.", "data/features", True),
        ("'%s' is busy.", "data/raw", True),
    ],
)
def test_only_the_warning_that_nothing_is_linked_is_left_out(text: str, place: str, kept: bool) -> None:
    record = logging.LogRecord("dvc.output", logging.WARNING, "", 0, text, (Path(place),), None)
    assert is_worth_logging(record) == kept
    assert is_worth_logging(logging.LogRecord("dvc.output", logging.WARNING, "", 0, "plain", None, None))


def record_of(message: str, error: Exception | None = None) -> logging.LogRecord:
    info = (type(error), error, None) if error is not None else None
    return logging.LogRecord("dvc.cli", logging.ERROR, "", 0, message, None, info)


@pytest.mark.parametrize(
    ("status", "kept"), [(143, False), (-15, False), (130, False), (-2, False), (1, True), (75, True), (None, True)]
)
def test_a_stage_that_was_stopped_is_no_error(status: int | None, kept: bool) -> None:
    error = ReproductionError("failed to reproduce 'backbone'")
    error.__cause__ = StageCmdFailedError("python -m stages.backbone", status)
    assert is_worth_logging(record_of("", error)) == kept


def test_advice_on_git_and_remotes_is_left_out_as_dvc_words_it() -> None:
    source = Path(scm_context.__file__).read_text()
    assert "\\nTo track the changes with git, run:" in source and "\\nTo enable auto staging, run:" in source
    assert not is_worth_logging(record_of("\nTo track the changes with git, run:\n\n%s"))
    assert not is_worth_logging(record_of("\nTo enable auto staging, run:\n\n\tdvc config core.autostage true"))
    assert quiet_dvc.PUSH in Path(sys.modules[CmdRepro.__module__].__file__ or "").read_text()


@pytest.mark.parametrize(
    ("command", "status"),
    [("exit 130", 130), ("kill -INT $$", 130), ("exit 143", 143), ("kill -TERM $$", 143), ("exit 1", 255)],
)
@pytest.mark.parametrize("options", [(), ("--quiet",)])
def test_the_status_is_that_of_a_stage_that_was_stopped(
    command: str, status: int, options: tuple[str, ...], tmp_path: Path
) -> None:
    Repo.init(tmp_path, no_scm=True).close()
    (tmp_path / "dvc.yaml").write_text(f"stages: {{ends: {{cmd: {command}}}}}")
    ended = run_forked(tmp_path, {"DVC_NO_ANALYTICS": "1"}, quiet_dvc.__name__, "repro", *options)
    assert ended.returncode == status, ended.stderr


def run_with(before: str, root: Path) -> subprocess.CompletedProcess[str]:
    """`dvc repro` in `root`, after some code."""
    code = f"import sys; {before}; from {quiet_dvc.__name__} import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-c", code, "repro"]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_ctrl_c_between_stages_has_the_status_of_ctrl_c(tmp_path: Path) -> None:
    Repo.init(tmp_path, no_scm=True).close()
    interrupt = "import signal, dvc.commands.repro as own; own.CmdRepro.run = lambda _: signal.raise_signal(2)"
    ended = run_with(interrupt, tmp_path)
    assert (ended.returncode, ended.stderr) == (130, "ERROR: interrupted by the user\n")


def test_ctrl_c_while_dvc_is_imported_ends_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "dvc.py").write_text("import signal\nsignal.raise_signal(2)\n")
    ended = run_with(f"sys.path.insert(0, {str(tmp_path)!r})", tmp_path)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")
