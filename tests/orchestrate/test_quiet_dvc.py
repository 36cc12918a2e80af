"""What `frcnn repro` leaves out of DVC's lines."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from dvc.commands.repro import CmdRepro
from dvc.exceptions import ReproductionError
from dvc.repo import scm_context
from dvc.stage.exceptions import StageCmdFailedError

from pipeline.orchestrate import quiet_dvc
from pipeline.orchestrate.quiet_dvc import is_worth_logging


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


@pytest.mark.parametrize(("status", "kept"), [(143, False), (130, False), (1, True), (75, True), (None, True)])
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
