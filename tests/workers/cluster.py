"""A coordinator and workers on this machine, each in a clone of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from pipeline.presets.links import LINKED
from tests.conftest import Project, new_project
from tests.faults.processes import until

FRCNN = (sys.executable, "-m", "pipeline.cli")


def _also_importable() -> list[str]:
    """What PYTHONPATH adds to this process, such as a plugin of DVC's."""
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=frcnn", "-c", "user.email=frcnn@localhost")
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


def committed_project(root: Path, params: dict[str, Any], prepare: Callable[[Path], None] = lambda _: None) -> Project:
    """A project whose files, and what `prepare` adds to them, are all in one commit."""
    project = new_project(root, params)
    prepare(root)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "All")
    return project


class Cluster:
    """Clones of a project that hand results over by a common cache folder or by a DVC remote.

    `server` is the address of Prefect's API.

    Args:
        remote: its address and settings, where it is one; an empty address is a folder's.
        prepare: adds files to the project.
    """

    def __init__(
        self,
        folder: Path,
        params: dict[str, Any],
        remote: Mapping[str, str] | None,
        prepare: Callable[[Path], None] = lambda _: None,
    ) -> None:
        self.folder, self._remote = folder, remote
        self.store = folder / "store"
        self._base = committed_project(folder / "base", params, prepare)
        self.coordinator = self.clone("coordinator")
        self._processes: list[subprocess.Popen[bytes]] = []
        self.server = ""

    def clone(self, name: str) -> Project:
        """Another clone, which has nothing but what git has."""
        root = self.folder / name
        subprocess.run(["git", "clone", "--quiet", str(self._base.root), str(root)], check=True)
        for place in LINKED.values():
            (root / place).mkdir(parents=True, exist_ok=True)
        project = Project(root)
        if self._remote is None:
            settings: list[tuple[str, ...]] = [("cache", "dir", "--local", str(self.store))]
        else:
            address = self._remote["url"] or str(self.store)
            settings = [("remote", "add", "--local", "--default", "store", address)]
            more = [(name, value) for name, value in self._remote.items() if name != "url"]
            settings += [("remote", "modify", "--local", "store", name, value) for name, value in more]
        for setting in settings:
            result = project.run("dvc", *setting)
            assert result.returncode == 0, result.stderr
        return project

    def start(self, project: Project, *command: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a verb of frcnn in a clone; its output goes to a file beside the clone."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        if self.server:
            own["PREFECT_API_URL"] = self.server
        with open(self.log_of(project), "ab") as log:
            process = subprocess.Popen(
                [*FRCNN, *command],
                cwd=project.root,
                env={**own, "PYTHONPATH": os.pathsep.join([str(project.root), *_also_importable()]), **more},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def log_of(self, project: Project) -> Path:
        return self.folder / f"{project.root.name}.log"

    def serve(self) -> None:
        """Keep Prefect's server."""
        pages = self.clone("pages")
        self.start(pages, "ui")
        address = until(lambda: self.log_of(pages).read_text().split(), "no server")[0]
        self.server = f"{address}/api"

    def worker(self, name: str, pool: str, **more: str) -> tuple[Project, subprocess.Popen[bytes]]:
        """A worker in a new clone."""
        project = self.clone(name)
        return project, self.start(project, "worker", "--pool", pool, **more)

    def coordinate(self, *command: str) -> str:
        """Run a verb in the coordinator's clone to its good end; what it printed."""
        process = self.start(self.coordinator, *command)
        status = process.wait(timeout=1200)
        text = self.log_of(self.coordinator).read_text(errors="replace")
        assert status == 0, text[-4000:]
        return text

    def stop(self) -> None:
        """End all that was started, and what that started."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()
                process.wait()


@contextmanager
def cluster(
    folder: Path,
    params: dict[str, Any],
    remote: Mapping[str, str] | None,
    prepare: Callable[[Path], None] = lambda _: None,
) -> Iterator[Cluster]:
    """A cluster with its server, ended with all of its processes."""
    made = Cluster(folder, params, remote, prepare)
    try:
        made.serve()
        yield made
    finally:
        made.stop()


def ran_in(project: Project) -> set[str]:
    """The stages that ran in a clone."""
    return {path.stem for path in (project.root / ".dvc/tmp/frcnn-stages").glob("*.json")}
