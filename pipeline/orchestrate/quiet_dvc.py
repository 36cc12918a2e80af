"""`python -m pipeline.orchestrate.quiet_dvc ARGUMENTS`: dvc without its warnings that folders for links are empty."""

from __future__ import annotations

import logging
import sys

from pipeline.presets.links import LINKED


def is_worth_logging(record: logging.LogRecord) -> bool:
    """False for the warning that a folder is empty into which nothing was linked, as in the default graph."""
    empty = record.args[0] if record.msg == "'%s' is empty." and isinstance(record.args, tuple) else None
    return str(empty) not in LINKED.values()


def main() -> int:
    """Run dvc; its exit status."""
    from dvc.cli import main as dvc

    logging.getLogger("dvc.output").addFilter(is_worth_logging)
    status: int = dvc(sys.argv[1:])
    return status


if __name__ == "__main__":
    sys.exit(main())
