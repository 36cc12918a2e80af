"""Fixtures that several folders share."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.families.registry import DEFAULT, family_of
from pipeline.graphs.present import graph_locks
from pipeline.nn.processor import has_bf16
from pipeline.params.file import sections_of
from pipeline.presets.defaults import default_text
from pipeline.presets.links import LINKED
from pipeline.runtime.code_locks import memo
from pipeline.runtime.yaml_files import read_yaml
from tests.forked import run_forked_dvc
from tests.portable import is_numeric, what_is_not_off

ROOT = Path(__file__).resolve().parents[1]
_TREE = (
    "dvc.yaml",
    "params.yaml",
    "prefect.yaml",
    "graphs",
    ".gitignore",
    "stages",
    "pipeline",
    ".dvc/config",
    ".dvcignore",
    "data/.gitignore",
)

SECTIONS = sections_of(family_of(DEFAULT))
"""Those of the default family's params.yaml."""

TINY: dict[str, Any] = {
    "base": {"threads": 1},  # two tests side by side do not slow each other down
    "dataset": {"shapes": {"train": 12, "test": 6, "image_size": 192, "max_objects": 4}},
    "backbone": {"pretrain": {"images": 12, "crops_per_iteration": 16, "iterations": 4}},
    "resize": {"shorter_side": 192, "longer_side": 320},
    "proposals": {"pre_nms": 200, "post_nms": 50},
    "roi_head": {"hidden": 32},
    "solver": {"log_every": 2},
    **{
        stage: {"iterations": 4, "images_per_iteration": 2, "lr_drop_at": [3], "warmup_iterations": 1}
        for stage in ("train_rpn_step1", "train_head_step2", "train_rpn_step3", "train_head_step4", "finetune_joint")
    },
    "detect": {"pre_nms": 200, "proposals": 50, "recall_ranks": 100, "score_threshold": 0.0},
    "evaluate": {"score_threshold": 0.0},
}


def apply_overlay(params: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """`overlay` applied to `params`, in place."""
    for key, value in overlay.items():
        if isinstance(value, dict):
            apply_overlay(params[key], value)
        else:
            params[key] = value
    return params


@dataclass
class Project:
    """A copy of the project with a git and DVC repository of its own."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    def set_params(self, overlay: dict[str, Any]) -> None:
        path = self.root / "params.yaml"
        path.write_text(yaml.safe_dump(apply_overlay(yaml.safe_load(path.read_text()), overlay), sort_keys=False))

    def run(self, *command: str, programs: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command; `programs`: a folder of programs that take the place of others of their names."""
        folders = [str(programs)] if programs else []
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([*folders, str(Path(sys.executable).parent), os.environ["PATH"]]),
            "DVC_NO_ANALYTICS": "1",
            "PYTHONPATH": str(self.root),
        }
        if command[0] == "dvc":
            return run_forked_dvc(self.root, environment, *command[1:])
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def repro(self, *stages: str, programs: Path | None = None) -> list[str]:
        """Run what is not up to date; the names of the stages that ran."""
        result = self.run("dvc", "repro", *stages, programs=programs)
        assert result.returncode == 0, result.stderr[-2000:]
        lines = result.stdout.splitlines()
        ran = [line.split("'")[1] for line in lines if line.startswith("Running stage")]
        return [name for name in ran if name != "code"]  # which always runs

    def lock(self) -> dict[str, Any]:
        stages: dict[str, Any] = read_yaml(self.root / "dvc.lock")["stages"]
        return stages


@functools.cache
def _locks() -> dict[str, str]:
    return {name: lock.text() for name, lock in graph_locks(ROOT).items()}


def new_project(root: Path, params: dict[str, Any]) -> Project:
    """A fresh project in `root`, with `params` applied to the default ones of the tests."""
    for name in _TREE:
        source, target = ROOT / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            # With what Python has compiled, which saves seconds, but without what it is just writing.
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.pyc.*"))
        else:
            shutil.copyfile(source, target)
    (root / "params.yaml").write_text(default_text(family_of(DEFAULT)), encoding="utf-8")
    for place in LINKED.values():
        (root / place).mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    (root / "data/code").mkdir()
    for name, lock in _locks().items():
        (root / f"data/code/{name}.json").write_text(lock)  # so that a stage can be run by hand at once
    project = Project(root)
    project.set_params(params)
    return project


def stages_from(run: Project, first: str) -> list[str]:
    """The stage `first` and those after it in dvc.yaml."""
    order = list(read_yaml(run.root / "dvc.yaml")["stages"])
    return order[order.index(first) :]


def that_forgot(run: Project, stages: Iterable[str], root: Path) -> Project:
    """A copy of a finished run that knows nothing of some stages."""
    project = Project(Path(shutil.copytree(run.root, root, symlinks=True)))
    shutil.rmtree(root / ".dvc/cache/runs")
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    for stage in stages:
        shutil.rmtree(project.data / stage)
        del lock["stages"][stage]
    (root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
    return project


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--portable", action="store_true", help="only files whose numbers could depend on the processor; in float32"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Before any test file is imported, and torch with it."""
    # A shell that starts pytest in the background has it ignore Ctrl-C, and so would all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The same sources are locked again and again, and to parse them takes seconds. The result depends on their text.
    memo.read_source = functools.cache(memo.read_source)
    # Two test processes of two threads each wait for one another on two cores, up to six times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    wrong = what_is_not_off()
    if wrong:
        raise pytest.UsageError(f"the environment switches off what is still used: {', '.join(wrong)}")
    if config.getoption("--portable") or not has_bf16():
        TINY["base"]["precision"] = "float32"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Under --portable, all files that neither reach torch or NumPy nor compare floats."""
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return True if config.getoption("--portable") and is_test and not is_numeric(collection_path) else None


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that one of the test processes makes for all of them."""
    own = factory.getbasetemp()
    common = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    finished = common / name
    with open(common / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            folder = factory.mktemp(name) / "made"
            make(folder)
            folder.rename(finished)
    return finished


def _whole_run(folder: Path) -> None:
    command = [sys.executable, "-m", "tests.whole_run", str(folder), json.dumps(TINY)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The whole graph, run once on a dozen images. Do not change it; copy it to change something."""
    finished = made_once(tmp_path_factory, "tiny_run", _whole_run)
    # Each test process has a copy, as two must not ask DVC in one folder at a time.
    own = tmp_path_factory.getbasetemp() / "tiny" / "project"
    shutil.copytree(finished, own, symlinks=True)
    return Project(own)


def _new_prefect_home(folder: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    subprocess.run(command, env=environment, check=True, capture_output=True)


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a Prefect server leaves that has run nothing. A copy in a project's `.prefect` saves its server the quarter
    of a minute in which it makes its tables."""
    return made_once(tmp_path_factory, "prefect_home", _new_prefect_home)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data sets and weights beside the project; tests skip where it is absent."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no folder of real data beside the project")
    return folder


_CHECKED_AGAINST_OTHERS = ("golden", "parity", "fidelity")


_OF_WHOLE_RUNS = ("e2e", "faults", "bundle", "orchestrate")
_FIRST = (
    "e2e/test_frozen_features.py",  # one process makes `tiny_run` with it and has the third, too
    "faults/test_continue.py",  # another has this one, the fourth and those after it, which do not need that run
    "e2e/test_flow.py",
    "orchestrate/test_wiring.py",
    "orchestrate/test_stale_runs.py",
    "benchmarks/test_gpu_smoke.py",
    "orchestrate/test_dvc_stage.py",
    "runtime/test_processors.py",
    "benchmarks/test_gpu_truth.py",
    "faults/test_repro.py",
    "parity/test_onnx.py",
    "parity/test_onnx_forms.py",
    "faults/test_drill.py",
    "faults/test_flow.py",
    "faults/test_disk_full.py",
)
"""Files that take longest, and what fills the time until there is a run to test."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Remember by whose authority each test judges; those folders have no test without one.

    Files that take minutes come first, so that none is left for one process at the end while the other has no work.
    """

    def turn(item: pytest.Item) -> int:
        folder = item.path.parent.name
        if f"{folder}/{item.path.name}" in _FIRST:
            return _FIRST.index(f"{folder}/{item.path.name}")
        return len(_FIRST) + (_OF_WHOLE_RUNS.index(folder) if folder in _OF_WHOLE_RUNS else len(_OF_WHOLE_RUNS))

    items.sort(key=turn)
    for item in items:
        marker = item.get_closest_marker("authority")
        if marker:
            item.user_properties.append(("authority", marker.args[0]))
        elif item.path.parent.name in _CHECKED_AGAINST_OTHERS:
            raise pytest.UsageError(f"{item.nodeid}: name its authority with pytest.mark.authority")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how many checks stand against which authority."""
    counts: dict[str, int] = {}
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "authority" and report.when == "call":
                counts[value] = counts.get(value, 0) + 1
    if counts:
        terminalreporter.section("checked against")
        for authority, count in sorted(counts.items()):
            terminalreporter.write_line(f"{count:5d}  {authority}")
