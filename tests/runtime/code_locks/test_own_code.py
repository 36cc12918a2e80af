"""The project's code as locks see it: what is left out of them, and that nothing else slips through."""

from __future__ import annotations

import ast
import importlib.util
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.graphs.present import graph_locks, present_graph
from pipeline.runtime.code_locks.lock import CodeLock
from pipeline.runtime.code_locks.tree import SourceTree
from pipeline.runtime.own_code import LEFT_OUT, LIBRARIES, PACKAGES, lock_name, own_code
from stages.code import code
from tests.conftest import ROOT, TINY, new_project
from tests.in_process import words_of

COMMITTED = (
    "stages",
    "pipeline.preload",
    "pipeline.preload.client",
    "pipeline.preload.stage_client",
    "pipeline.runtime.code_locks.*",
    "pipeline.runtime.own_code",
    "pipeline.runtime.stage_process",
    "pipeline.runtime.stopping",
    "pipeline.runtime.data_folder",
    "pipeline.runtime.locking",
    "pipeline.runtime.progress",
    "pipeline.runtime.run_key",
    "pipeline.runtime.run_times",
    "pipeline.runtime.version",
    "pipeline.runtime.words",
)
"""An edit of these reruns nothing. Before you add one: can it change a byte of what any stage writes?"""

USED = {
    "pipeline.runtime.code_locks.lock": {"CodeError"},  # ends the stage
    "pipeline.runtime.code_locks.running": {"RunningCode"},  # ends the stage or does nothing
    "pipeline.runtime.locking": {"try_lock"},  # keeps a second run out
    "pipeline.runtime.own_code": {"MEMO", "running_code"},  # ends the stage or does nothing
    "pipeline.runtime.progress": {"Progress", "report_to", "track"},  # hands on what it is given
    "pipeline.runtime.run_key": {"run_key"},  # says which state resumes
    "pipeline.runtime.run_times": {"record_run"},
    "pipeline.runtime.stage_process": {"StageProcess"},
    "pipeline.runtime.stopping": {
        "is_urgent",
        "safe_points",
        "signals_waiting",
        "stop_if_requested",
        "stop_requested",
    },  # says when it stops
    "pipeline.runtime.words": {
        "count_text",
        "figure_text",
        "nearest_key_text",
    },  # in lines that are printed
}
"""What code that can change a result takes of what is left out, and why that can not."""

COMPUTING = ("numpy", "torch", "torchvision", "cv2", "pandas", "pyarrow", "scipy", "PIL", "safetensors", "accelerate")


@pytest.fixture(scope="module")
def locks() -> dict[str, CodeLock]:
    return graph_locks(ROOT)


@pytest.fixture(scope="module")
def left_out() -> list[str]:
    """The modules that are left out, one by one."""
    names = [name for name in LEFT_OUT if not name.endswith(".*")]
    for package in {name.removesuffix(".*") for name in LEFT_OUT} - set(names):
        found = sorted((ROOT / package.replace(".", "/")).rglob("*.py"))
        names += [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in found]
    return names


def test_the_modules_left_out_are_those_that_were_chosen_and_are_there(left_out: list[str]) -> None:
    assert LEFT_OUT == COMMITTED
    below = len(list((ROOT / "pipeline/runtime/code_locks").glob("*.py")))
    assert len(left_out) == len(COMMITTED) - 1 + below
    for name in left_out:
        own_code(root=ROOT).lock(name)  # which refuses what is not there


def test_what_is_left_out_computes_nothing(left_out: list[str]) -> None:
    tree = SourceTree(ROOT, PACKAGES, {name: (name,) for name in COMPUTING})
    assert {name: dict(tree.lock(name).libraries) for name in left_out} == {name: {} for name in left_out}


def test_nothing_slips_out_of_the_locks_by_being_imported_by_what_is_left_out(
    left_out: list[str], locks: dict[str, CodeLock]
) -> None:
    tree = SourceTree(ROOT, PACKAGES, {})
    reached = {path for name in left_out for path in tree.lock(name).modules}
    own = {tree.paths_to(name).popitem()[1][0] for name in left_out}
    assert len(own) == len(left_out)
    assert reached - {path for lock in locks.values() for path in lock.modules} == own


def test_what_computes_takes_of_what_is_left_out_only_what_cannot_change_a_result(locks: dict[str, CodeLock]) -> None:
    tree, used = own_code(root=ROOT), dict[str, set[str]]()
    for path in {path for lock in locks.values() for path in lock.modules}:
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                if tree.is_left_out(node.module):
                    used.setdefault(node.module, set()).update(alias.name for alias in node.names)
                else:  # the module itself: anything in it could be used
                    assert not any(tree.is_left_out(f"{node.module}.{alias.name}") for alias in node.names), path
            elif isinstance(node, ast.Import):
                assert not any(tree.is_left_out(alias.name) for alias in node.names), path
    assert used == USED


def _version_of(library: str) -> str:
    """What the library says itself, without its being imported, which takes seconds."""
    spec = importlib.util.find_spec(library)
    assert spec is not None and spec.origin is not None
    content = runpy.run_path(str(Path(spec.origin).with_name("version.py")))
    return str(content["__version__" if "__version__" in content else "opencv_version"])


def test_the_versions_in_a_lock_are_those_of_what_computes(locks: dict[str, CodeLock]) -> None:
    found = {name: version for lock in locks.values() for name, version in lock.libraries.items()}
    computing = {"torch", "torchvision", "numpy", "cv2", "accelerate", "pyarrow", "faster_coco_eval"}
    assert set(LIBRARIES) == found.keys() == computing
    for name in ("torch", "numpy", "cv2"):  # torchvision's file imports torchvision
        assert found[name] == _version_of(name).partition("+")[0]
    assert set(locks["evaluate-faster_rcnn"].libraries) == {"cv2", "numpy", "pyarrow", "faster_coco_eval"}
    assert set(locks["detect"].libraries) == set(LIBRARIES) - {"faster_coco_eval"}
    assert "torch" not in locks["dataset"].libraries


def _taken_out() -> dict[str, ModuleType]:
    """The project's modules that are loaded, which from now on are not; torch can be loaded only once."""
    own = [name for name in sys.modules if name.partition(".")[0] in PACKAGES]
    return {name: sys.modules.pop(name) for name in own}


@pytest.mark.parametrize("name", sorted(lock_name(*run) for run in present_graph(ROOT).code()))
def test_what_a_stages_module_loads_is_in_its_lock_or_left_out(name: str, locks: dict[str, CodeLock]) -> None:
    """What it loads later, each run of a stage checks for itself before it publishes."""
    before = _taken_out()
    try:
        for module in (locks[name].module, *locks[name].parts):
            importlib.import_module(module)
        loaded = list(_taken_out())
    finally:
        sys.modules.update(before)
    assert {locks[name].module, *locks[name].parts, "pipeline.runtime.stage"} <= set(loaded)
    assert own_code(root=ROOT).unlocked(locks[name], loaded) == []
    assert own_code(root=ROOT).unlocked(locks[name], [*loaded, "pipeline.report.page"]) == ["pipeline/report/page.py"]


def _run(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words_of(root, "dataset")]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_a_stage_that_loads_a_module_by_a_computed_name_publishes_nothing(tmp_path: Path) -> None:
    root = new_project(tmp_path / "project", TINY).root
    (root / "pipeline/datasets/hidden.py").write_text('"""Unseen."""\n')
    module = root / "stages/dataset.py"
    text = module.read_text()
    lock_file = root / "data/code/dataset.json"
    computed = text.replace("\n\n\ndef ", '\n\n__import__("pipeline.datasets." + "hidden")\n\n\ndef ', 1)
    module.write_text(computed)
    lock_file.write_text(own_code(root=root).lock("stages.dataset").text())
    result = _run(root)
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if "error" in line.lower() or "Traceback" in line]
    assert lines == [
        "dataset: error: pipeline/datasets/hidden.py: loaded, and not in the stage's code lock, so its result is not "
        "kept; import it by an import statement"
    ]
    assert not (root / "data/dataset").exists()
    module.write_text(computed.replace('datasets." + "hidden', "datasets.hidden"))
    assert "pipeline/datasets/hidden.py" in own_code(root=root).lock("stages.dataset").modules


def test_stage_code_writes_the_locks_of_what_the_graph_runs_and_removes_others(
    tmp_path: Path, locks: dict[str, CodeLock]
) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    out = tmp_path / "data/code"
    out.mkdir(parents=True)
    (out / "gone.json").write_text("{}")
    (out / "detect.json").write_text("of an earlier run")
    (out / "evaluate-points.json").write_text("of another graph")
    (out / "note.txt").write_text("of a person")
    code(out, tmp_path / "params.yaml", tmp_path / "memo.json")
    expected = {f"{name}.json": lock.text() for name, lock in locks.items()}
    written = {path.name: path.read_text() for path in out.iterdir()}
    assert written.pop("note.txt") == "of a person"
    assert written == expected and len(written) == 13
    assert json.loads(written["detect.json"])["module"] == "stages.detect"
    assert json.loads(written["evaluate-faster_rcnn.json"])["parts"] == ["pipeline.families.faster_rcnn.evaluate"]
