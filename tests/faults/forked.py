"""Commands of stages in processes of their own, forked from one that has imported torch: a start is a matter of
milliseconds, and each can be killed."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import ROOT
from tests.faults.at_rename import SITE

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["stages.features", "stages.proposals", "stages.detect"])


def run_forked(root: Path, environment: Mapping[str, str], module: str, *words: str) -> tuple[int, str]:
    """The status of `python -m module words` in `root`, negative where a signal ended it, and what it said."""
    said = root.parent / "said"
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))  # where the process finds this module
    process = _SERVER.Process(target=_run, args=(root, said, dict(environment), module, words))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode, said.read_text()


def _run(root: Path, said: Path, environment: dict[str, str], module: str, words: tuple[str, ...]) -> None:
    os.chdir(root)
    with open(said, "wb") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.environ.update(environment)
    exec(SITE, {})
    sys.argv = [module, *words]
    sys.modules.pop(module, None)  # imported before the fork, of which runpy warns
    runpy.run_module(module, run_name="__main__")
