"""`python -m pipeline.orchestrate.quiet_dvc ARGUMENTS`: dvc without lines that say nothing to a user of the project.

These are warnings that folders for links are empty, advice on git and on remotes after each run, and the error of a
stage that was stopped by a signal, which has said so itself. That stage's status, 130 or 143, is that of the run, where
DVC has 255.
"""

from __future__ import annotations

import logging
import signal
import sys
from signal import SIGINT, SIGTERM
from typing import Any

from pipeline.presets.links import LINKED

PUSH = "Use `dvc push` to send your updates to remote storage."
_GIT = ("\nTo track the changes with git, run:", "\nTo enable auto staging, run:")
_STOPPED = {
    f", exited with {status}": 128 + number for number in (SIGINT, SIGTERM) for status in (128 + number, -number)
}
"""What DVC says of a stage that ended by one of these signals itself or was ended by it, and the status for it."""
_INTERRUPTED = 252  # DVC's status on Ctrl-C while no stage runs


def is_worth_logging(record: logging.LogRecord) -> bool:
    """False for advice on git, for the error of a stage that was stopped, and for the warning that a folder is empty
    into which nothing was linked, as in the default graph."""
    if str(record.msg).startswith(_GIT):
        return False
    if record.exc_info and _status_of_stopped(record.exc_info[1]):
        return False
    empty = record.args[0] if record.msg == "'%s' is empty." and isinstance(record.args, tuple) else None
    return str(empty) not in LINKED.values()


def _status_of_stopped(error: BaseException | None) -> int | None:
    """The exit status of the stage that was stopped by a signal, where that is behind an error."""
    while error is not None:
        for words, status in _STOPPED.items():
            if str(error).endswith(words):
                return status
        error = error.__cause__
    return None


def main() -> int:
    """Run dvc; its exit status, but 130 on Ctrl-C and 143 where a stage was stopped by SIGTERM."""
    raises = signal.getsignal(SIGINT) is signal.default_int_handler
    if raises:
        signal.signal(SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports, which take a second, prints no traceback
    from dvc.cli import main as dvc
    from dvc.repo import Repo
    from dvc.ui import ui

    if raises:
        signal.signal(SIGINT, signal.default_int_handler)
    for name in ("dvc.output", "dvc.repo.scm_context", "dvc.cli"):
        logging.getLogger(name).addFilter(is_worth_logging)
    write, reproduce = ui.write, Repo.reproduce
    stopped: list[int] = []

    def write_but_advice(*objects: object, **options: object) -> None:
        if objects != (PUSH,):
            write(*objects, **options)

    def reproduce_and_note(*arguments: Any, **options: Any) -> Any:
        try:
            return reproduce(*arguments, **options)
        except Exception as error:
            if status := _status_of_stopped(error):
                stopped.append(status)
            raise

    ui.write, Repo.reproduce = write_but_advice, reproduce_and_note
    status: int = dvc(sys.argv[1:])
    if stopped:
        return stopped[0]
    return 128 + SIGINT if status == _INTERRUPTED else status


if __name__ == "__main__":
    sys.exit(main())
