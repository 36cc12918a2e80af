"""`python -m pipeline.orchestrate.quiet_dvc ARGUMENTS`: dvc without lines that say nothing to a user of the project.

These are warnings that folders for links are empty, advice on git and on remotes after each run, and the error of a
stage that was stopped by a signal, which has said so itself.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from signal import SIGINT, SIGTERM

from pipeline.presets.links import LINKED

PUSH = "Use `dvc push` to send your updates to remote storage."
_GIT = ("\nTo track the changes with git, run:", "\nTo enable auto staging, run:")
_STOPPED = tuple(f", exited with {128 + number}" for number in (SIGINT, SIGTERM))


def is_worth_logging(record: logging.LogRecord) -> bool:
    """False for advice on git, for the error of a stage that was stopped, and for the warning that a folder is empty
    into which nothing was linked, as in the default graph."""
    if str(record.msg).startswith(_GIT):
        return False
    if record.exc_info and any(str(error).endswith(_STOPPED) for error in _causes(record.exc_info[1])):
        return False
    empty = record.args[0] if record.msg == "'%s' is empty." and isinstance(record.args, tuple) else None
    return str(empty) not in LINKED.values()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def main() -> int:
    """Run dvc; its exit status."""
    from dvc.cli import main as dvc
    from dvc.ui import ui

    for name in ("dvc.output", "dvc.repo.scm_context", "dvc.cli"):
        logging.getLogger(name).addFilter(is_worth_logging)
    write = ui.write

    def write_but_advice(*objects: object, **options: object) -> None:
        if objects != (PUSH,):
            write(*objects, **options)

    ui.write = write_but_advice
    status: int = dvc(sys.argv[1:])
    return status


if __name__ == "__main__":
    sys.exit(main())
