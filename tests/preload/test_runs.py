"""Runs have a Python for their stages that has imported what they import, and leave nothing of it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from pipeline.orchestrate.preloading import preloaded
from pipeline.orchestrate.workspace import environment_in
from pipeline.preload.client import place_of
from pipeline.preload.stage_client import ADDRESS
from pipeline.runtime.errors import StartedOtherwise
from tests.conftest import ROOT, Project
from tests.faults.processes import until
from tests.fidelity.conftest import files_of
from tests.in_process import words_of
from tests.stage_forks import StageForks

REPRO = ("-m", "pipeline.cli", "repro")
IN_TORCH = ("anchor_targets", "train_rpn_step1", "proposals_step1", "proposal_targets_step2", "train_head_step2")


def listens(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(place_of(address)) == 0


@contextmanager
def one_for(root: Path, **variables: str) -> Iterator[dict[str, str]]:
    """An environment of stages that names one, which listens."""
    environment = environment_in(root, {**os.environ, **variables})
    with preloaded(root, environment) as more:
        until(lambda: listens(more[ADDRESS]), "it does not listen")
        yield {**environment, **more}


@pytest.fixture
def project(tiny_run: Project, tmp_path: Path) -> Project:
    shutil.copytree(tiny_run.root, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


@pytest.fixture
def forks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StageForks:
    made = StageForks(tmp_path)
    for name, value in made.variables.items():
        monkeypatch.setenv(name, value)
    return made


def test_stages_leave_the_same_bytes(project: Project, tiny_run: Project, forks: StageForks) -> None:
    with one_for(project.root, PYTHONPATH=str(forks.site)) as environment:
        for name in (*IN_TORCH, "evaluate_step2"):
            shutil.rmtree(project.data / name)
            command = [sys.executable, "-m", *words_of(project.root, name)]
            result = subprocess.run(command, cwd=project.root, env=environment, capture_output=True, text=True)
            assert result.returncode == 0, result.stderr
            assert files_of(project.data / name) == files_of(tiny_run.data / name), name
    assert forks.count() == len(IN_TORCH) + 1


def test_nearly_all_that_stages_import_is_there_and_no_thread_of_python(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("")
    code = """
import os, runpy, sys, threading
import torch
from pipeline.preload import stage_python
imported = []

def asked(*_):
    raise AssertionError("a GPU is asked for")

torch.cuda.init = torch.cuda.is_available = torch.cuda.device_count = torch._C._cuda_getDeviceCount = asked

class Noted:
    def find_spec(self, name, path, target=None):
        package = name.partition(".")[0]
        if package not in sys.stdlib_module_names and package not in ("pipeline", "stages"):
            imported.append(name)

class Done(BaseException):
    pass

def served(*_, **__):
    raise Done

stage_python.Server = served
try:
    stage_python.main()
except Done:
    pass
assert threading.active_count() == 1
assert "pandas" not in sys.modules
sys.meta_path.insert(0, Noted())
for file in sorted(os.listdir("stages")):
    if file.endswith(".py") and file not in ("__init__.py", "code.py"):
        __import__("stages." + file[:-3])
print(sorted(imported))
"""
    result = subprocess.run(
        [sys.executable, "-c", code, "@frcnn-of-a-test"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    # The project makes a stand-in for what torchvision imports itself.
    assert [name for name in eval(result.stdout) if not name.startswith("torchvision")] == []


def test_repro_has_one_until_it_ends(project: Project, tiny_run: Project, forks: StageForks) -> None:
    site_first = f"PYTHONPATH={forks.site}:{project.root}"
    result = project.run("env", site_first, sys.executable, *REPRO, "--force", "--single-item", *IN_TORCH)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Running stage") == len(IN_TORCH)
    assert project.lock() == tiny_run.lock()
    assert forks.count()  # the first stages may have begun before it listened
    mine = "FORKS={FORKS}".format(**forks.variables)

    def left() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if mine in Path(f"/proc/{process.pid}/environ").read_text(errors="replace").split("\0"):
                    found.append(process)
            except OSError:
                continue
        return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]

    until(lambda: not left(), "something of it is left")


def test_a_run_has_none_where_the_environment_declines_or_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with preloaded(tmp_path, {ADDRESS: "@one"}) as more:
        assert more == {}
    monkeypatch.setenv("FRCNN_PRELOAD", "0")
    with preloaded(tmp_path, {}) as more:
        assert more == {}
    monkeypatch.setenv("FRCNN_PRELOAD", "2")
    with pytest.raises(StartedOtherwise, match="give a number, 0 for a new Python per stage"), preloaded(tmp_path, {}):
        pass
