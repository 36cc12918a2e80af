"""`python -S -m frcnn_run_engine`: the process that a Prefect worker starts for a run.

It is found under this name in a copy that the worker makes when it starts (`copy_to`), since runs check out other
commits in the worker's clone, and older commits do not have this module.

The worker's warm engine (`pipeline.workers.warm_engine`) runs it, in a process with the environment, the folder and
the output of this one. This one passes signals on, and ends as that one does. Where there is no warm engine that could
do so, this becomes `python -m prefect.engine`. Imports the standard library only, so that it starts in milliseconds.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from .client import COLD, ask, end_as  # relative, so that it is found in a copy

ADDRESS = "FRCNN_WORKER_ENGINE"
"""Environment variable of a worker: the socket of its warm engine."""

MODULE = "frcnn_run_engine"
"""The name of a worker's copy of this module."""


def main() -> int:
    """The exit status of the run."""
    answer = ask(os.environ.get(ADDRESS, ""), {})
    if answer == COLD:
        os.execv(sys.executable, [sys.executable, "-m", "prefect.engine"])
    return end_as(answer)


def copy_to(folder: Path) -> None:
    """Have this in a folder as the package `MODULE`; it needs nothing else of the project."""
    own, package = Path(__file__), folder / MODULE
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    shutil.copyfile(own, package / "__main__.py")
    shutil.copyfile(own.with_name("client.py"), package / "client.py")


if __name__ == "__main__":
    sys.exit(main())
