"""Commands of a benchmark. None outlives the benchmark: a process left running would slow the next start."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.orchestrate.guarded import Guarded
from pipeline.runtime.errors import InputError


def run_module(module: str, words: Sequence[str], *, cwd: Path, code: Path) -> None:
    """`python -m module words` in a folder, with the project's code of the folder `code`; what it says goes to stderr.

    However this process ends, the command and all that it has started end too.

    Raises:
        InputError: it has failed; it has said why.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(code),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
    }
    command = Guarded([sys.executable, "-m", module, *words], cwd=cwd, environment=environment)
    status = command.wait(lambda line: print(line, file=sys.stderr, flush=True))
    if status:
        raise InputError(f"{' '.join([module, *words])} in {cwd} ended with status {status}")
