"""A stage of several processes, in a folder where it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
import yaml

from pipeline.runtime.locking import try_lock
from pipeline.runtime.variables import PROCESSES
from tests.conftest import ROOT
from tests.defaults import default_content
from tests.in_process import Ended, run_command
from tests.processes.chunked_stage import ORDERS

MODULE = "tests.processes.chunked_stage"


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


class Place:
    """A folder in which the stage runs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "params.yaml").write_text(yaml.safe_dump(default_content()))

    def run(self, processes: str, out: str = "out", **orders: str) -> Ended:
        """In this process and those it starts; `orders`: what to do, by "_" and the id of an image."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self._environment(processes, orders).items():
                patch.setenv(name, value)
            return run_command(self.root, MODULE, "--params", "base", "--out", out)

    def run_apart(self, processes: str, stdout: IO[bytes] | None = None, **orders: str) -> tuple[int, str]:
        """In a process and a process group of its own."""
        done = subprocess.run(
            [sys.executable, "-m", MODULE, "--params", "base", "--out", "out"],
            cwd=self.root,
            env={**os.environ, **self._environment(processes, orders), "PYTHONPATH": str(ROOT)},
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            check=False,
        )
        return done.returncode, done.stderr

    def start(self, processes: str, **orders: str) -> subprocess.Popen[bytes]:
        """In processes whose images wait, each at a FIFO of its own where it notes its number."""
        for path in self.waiting(int(processes)):
            os.mkfifo(path)
        return subprocess.Popen(
            [sys.executable, "-m", MODULE, "--params", "base", "--out", "out"],
            cwd=self.root,
            env={**os.environ, **self._environment(processes, orders), "PYTHONPATH": str(ROOT)},
        )

    def waiting(self, processes: int) -> list[Path]:
        """The FIFOs of the processes that wait."""
        return [self.root / f"waits-{number}" for number in range(processes)]

    def is_free(self) -> bool:
        """Whether no process holds the lock of the folder."""
        descriptor = os.open(self.root / ".out.partial", os.O_RDONLY)
        try:
            return try_lock(descriptor) is not None
        finally:
            os.close(descriptor)

    def _environment(self, processes: str, orders: dict[str, str]) -> dict[str, str]:
        return {PROCESSES: processes, ORDERS: json.dumps({name[1:]: order for name, order in orders.items()})}

    def resumes_as(self, undisturbed: dict[str, bytes]) -> None:
        """What was complete is kept, and the next run leaves the bytes of an undisturbed one and nothing else."""
        again = self.run("2")
        assert again.returncode == 0, again.stderr
        assert any(line.startswith("out: resumes after ") for line in again.stderr.splitlines())
        assert files_of(self.root / "out") == undisturbed
        assert [path.name for path in self.root.glob(".out*")] == []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that one process writes."""
    made = Place(tmp_path_factory.mktemp("undisturbed"))
    assert made.run("").returncode == 0
    return files_of(made.root / "out")
