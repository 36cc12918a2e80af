"""A Python that has imported a library of two lines, and a stage that executes what a variable has."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.orchestrate.preloading import new_address
from pipeline.preload.client import place_of
from pipeline.preload.stage_client import ADDRESS
from tests.conftest import ROOT
from tests.faults.processes import until

CODE = "FRCNN_DRILL_CODE"
_SERVER = """
from pipeline.preload import stage_python
stage_python.LIBRARIES = ("library",)
stage_python.main()
"""


class Preloaded:
    """One that serves the stage `probe` of `folder`.

    Attributes:
        environment: that of stages, which names it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "stages").mkdir()
        shutil.copyfile(ROOT / "stages/__init__.py", folder / "stages/__init__.py")
        (folder / "stages/probe.py").write_text(f"import os, signal, sys\nexec(os.environ['{CODE}'])\n")
        self.library = folder / "site-packages/library.py"
        self.library.parent.mkdir()
        self.library.write_text("A = 1\n")
        address = new_address()
        own = {**os.environ, "PYTHONPATH": f"{folder}:{self.library.parent}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen([sys.executable, "-c", _SERVER, address, " " * 100], cwd=ROOT, env=own)
        self.environment = {**own, ADDRESS: address}
        until(lambda: self.listens() or self.process.poll() is not None, "it does not listen")

    def listens(self) -> bool:
        """Whether it can be asked."""
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(place_of(self.environment[ADDRESS])) == 0

    def start(self, code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start the stage, as DVC does."""
        return subprocess.Popen(
            [sys.executable, "-m", "stages.probe", *arguments],
            cwd=self.folder,
            env={**self.environment, CODE: code, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """The status of the stage, and its output."""
        process = self.start(code, *arguments, **environment)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def started(self, code: str, **environment: str) -> tuple[subprocess.Popen[str], psutil.Process]:
        """A stage that is up, and the process that runs it."""
        process = self.start(f"print(os.getpid(), flush=True)\n{code}", **environment)
        assert process.stdout is not None
        return process, psutil.Process(int(process.stdout.readline()))

    def is_forked(self, **environment: str) -> bool:
        """Whether a stage in such an environment runs in a fork of it."""
        status, out, err = self.run("print(os.getppid())", **environment)
        assert status == 0, err
        return int(out) == self.process.pid


@pytest.fixture
def preloaded(tmp_path: Path) -> Iterator[Preloaded]:
    made = Preloaded(tmp_path)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()
