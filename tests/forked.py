"""Commands of stages and of DVC in processes of their own, forked from one that has imported torch and DVC: a start is
a matter of milliseconds, and each can be killed."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.at_rename import SITE

_ROOT = Path(__file__).resolve().parents[1]
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "tests.forked",
        *("stages.features", "stages.proposals", "stages.detect"),
        *("dvc.cli.parser", "dvc.repo.reproduce", "dvc.stage.cache", "dvc.stage.run", "networkx", "scmrepo.git"),
    ]
)

Ended = subprocess.CompletedProcess[str]


def run_forked(root: Path, environment: Mapping[str, str], module: str, *words: str) -> Ended:
    """What `python -m module words` does in `root`; a negative status where a signal ended it.

    Args:
        environment: variables that are set beside those of the tests.
    """
    return _forked(root, {**os.environ, **environment}, module, *words)


def run_forked_dvc(root: Path, environment: Mapping[str, str], *words: str) -> Ended:
    """What `dvc words` does in `root`.

    Args:
        environment: all its variables.
    """
    return _forked(root, environment, "dvc", *words)


def _forked(root: Path, environment: Mapping[str, str], module: str, *words: str) -> Ended:
    if str(_ROOT) not in sys.path:
        sys.path.append(str(_ROOT))  # where the process finds this module
    with TemporaryDirectory() as folder:
        printed, said = Path(folder, "stdout"), Path(folder, "stderr")
        process = _SERVER.Process(target=_run, args=(root, printed, said, dict(environment), module, words))
        process.start()
        process.join()
        assert process.exitcode is not None
        return Ended([module, *words], process.exitcode, printed.read_text(), said.read_text())


def _run(
    root: Path, printed: Path, said: Path, environment: dict[str, str], module: str, words: tuple[str, ...]
) -> None:
    os.chdir(root)
    for path, stream in ((printed, sys.stdout), (said, sys.stderr)):
        with open(path, "wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    os.environ.clear()
    os.environ.update(environment)
    exec(SITE, {})
    sys.argv = [module, *words]
    if module == "dvc":
        from dvc.cli import main

        sys.exit(main(list(words)))
    sys.modules.pop(module, None)  # runpy warns if it was imported before the fork
    runpy.run_module(module, run_name="__main__")
