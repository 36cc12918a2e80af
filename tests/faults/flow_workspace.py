"""A project in which flows run, and the processes that belong to it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil

from tests.conftest import Project
from tests.faults.processes import SECONDS, until


class Workspace:
    """A project with a flow in it, and all processes that belong to it."""

    def __init__(self, project: Project) -> None:
        self.project = project
        # Newer than any dvc.lock: no flow renews it, which takes it a quarter of a minute.
        (project.root / "report.html").touch()
        os.utime(project.root / "report.html", (2**31, 2**31))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(project.root),
            "OF_TEST": str(project.root),
        }

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start one of our verbs."""
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", *command],
            cwd=self.project.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def processes(self) -> list[psutil.Process]:
        """All that were started from here and are alive."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("OF_TEST") == str(self.project.root):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def process(self, *words: str) -> psutil.Process:
        """The one whose command line has all of `words`, the guard's own apart."""
        return until(lambda: self._of(words), f"no process with {words}")

    def guard_of(self, process: psutil.Process) -> psutil.Process:
        """The guard under which a process runs."""
        return next(parent for parent in process.parents() if "guard.py" in " ".join(parent.cmdline()))

    def request(self, *stages: str) -> None:
        """Ask the worker for a run of these stages, all without one, as the button in the pages does."""
        api = {
            "PREFECT_API_URL": until(self.server, "no server") + "/api",
            "PREFECT_HOME": str(self.project.root / ".prefect"),
            "DO_NOT_TRACK": "1",
        }
        subprocess.run(
            [
                *(sys.executable, "-m", "prefect", "deployment", "run", "train/this-machine"),
                *(("--param", f"targets={json.dumps(stages)}") if stages else ()),
            ],
            env={**self.environment, **api},
            cwd=self.project.root,
            check=True,
            capture_output=True,
        )

    def server(self) -> str:
        """The address of the server that runs here; empty where none does."""
        record = self.project.root / ".prefect" / "server.json"
        return json.loads(record.read_text())["url"] if record.exists() else ""

    def run(self, *stages: str) -> str:
        """Run the flow to its end; what it printed."""
        flow = self.start("flow", *stages)
        output, _ = flow.communicate(timeout=SECONDS)
        assert flow.returncode == 0, output
        return output

    def states(self) -> list[str]:
        """What the database says of all flow runs, sorted."""
        with closing(sqlite3.connect(self.project.root / ".prefect" / "prefect.db")) as database:
            return sorted(state for (state,) in database.execute("select state_type from flow_run"))

    def until_nobody_is_left(self) -> None:
        """Wait for the end of all processes."""
        _, alive = psutil.wait_procs(self.processes(), timeout=SECONDS / 4)
        assert not alive, [process.cmdline() for process in alive]
        assert not self.processes()

    def _of(self, words: tuple[str, ...]) -> psutil.Process | None:
        for process in self.processes():
            try:
                line = process.cmdline()
            except psutil.Error:
                continue
            if all(word in line for word in words) and not any(part.endswith("guard.py") for part in line):
                return process
        return None
