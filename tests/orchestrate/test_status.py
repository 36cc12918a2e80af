"""`frcnn status` names the stages that would run and what for, on a finished run to which something is done."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.orchestrate.status import stage_status
from pipeline.runtime.errors import InputError
from tests.conftest import Project, new_project
from tests.in_process import run_frcnn

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # of dvc, in pygtrie

UP_TO_DATE = ["21 stages, all up to date"]
HOW = "frcnn repro runs them, or takes from DVC's cache what it has there"


@pytest.fixture
def project(tiny_run: Project, tmp_path: Path) -> Project:
    shutil.copytree(tiny_run.root, tmp_path / "a project", symlinks=True)
    return Project(tmp_path / "a project")


def told(project: Project, why: bool = False) -> dict[str, str]:
    """What is said of each stage, lines that were wrapped in one; and of all, by an empty name."""
    *lines, count, last = stage_status(project.root, why)
    assert all(len(line) <= 100 for line in (*lines, count, last))
    found: dict[str, str] = {}
    for line in lines:
        name, text = re.fullmatch(r"(\S*)\s+(.*)", line).groups()  # type: ignore[union-attr]
        if name:
            found[name] = text
        else:
            found[list(found)[-1]] += f" {text}"
    return {**found, "": f"{count}; {last}"}


def edit(project: Project, module: str, more: str) -> None:
    assert (project.root / module).is_file()
    with (project.root / module).open("a") as file:
        file.write(more)


def change_lock(project: Project, change: Callable[[dict[str, Any]], object]) -> None:
    """Change dvc.lock, which says what ran."""
    path = project.root / "dvc.lock"
    content = yaml.safe_load(path.read_text())
    change(content["stages"])
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def test_nothing_to_do_takes_one_line_and_leaves_no_trace(project: Project) -> None:
    shutil.rmtree(project.data / "code")  # which the next run writes again, before anything else
    edit(project, "pipeline/families/faster_rcnn/nn/roi_head.py", "# A comment.\n")
    edit(project, "pipeline/orchestrate/status.py", "A = 1\n")
    edit(project, "pipeline/runtime/progress.py", "A = 1\n")

    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in project.root.rglob("*") if ".dvc/tmp" not in str(path)}

    before = files()
    assert stage_status(project.root) == UP_TO_DATE
    assert files() == before


def test_a_frozen_stage_runs_for_no_edit_and_no_parameter(project: Project) -> None:
    graph = (project.root / "dvc.yaml").read_text()
    (project.root / "dvc.yaml").write_text(graph.replace("\n  dataset:\n", "\n  dataset:\n    frozen: true\n", 1))
    edit(project, "pipeline/datasets/voc.py", "A = 1\n")
    project.set_params({"dataset": {"shapes": {"max_objects": 5}}})
    assert stage_status(project.root) == UP_TO_DATE


def test_an_edit_is_named_with_the_stages_that_it_reruns_and_why(project: Project) -> None:
    edit(project, "pipeline/datasets/voc.py", "A = 1\n")
    found = told(project)
    assert found["dataset"] == "code: pipeline/datasets/voc.py"
    assert found["resize"] == "only if the output of dataset changes"
    assert "only if the output of " in found["evaluate_joint"]
    more = sum(text.startswith("only if ") for text in found.values())
    assert found[""] == f"1 of 21 stages would run, and {more} more if what they read changes; {HOW}"
    chain = told(project, why=True)["dataset"].removeprefix("code: pipeline/datasets/voc.py ")
    assert re.fullmatch(r"stages/dataset\.py > (pipeline/\S+\.py > )*pipeline/datasets/voc\.py", chain)


def test_every_changed_module_has_a_chain_and_texts_stay_within_a_terminal(project: Project) -> None:
    own = [f"pipeline/families/faster_rcnn/nn/{name}.py" for name in ("roi_head", "roi_targets", "rpn")]
    for path in (*own, *(f"pipeline/nn/{name}.py" for name in ("boxes", "matching", "sampling"))):
        edit(project, path, "A = 1\n")
    found = told(project, why=True)["finetune_joint"]
    head, _, chains = found.partition(" stages/")
    assert re.fullmatch(
        r"code: pipeline/\S+\.py, pipeline/\S+\.py, pipeline/\S+\.py, pipeline/\S+\.py and \d more", head
    )
    assert chains.count("finetune_joint.py > ") >= 5


def test_parameters_are_named_by_key(project: Project) -> None:
    project.set_params({"evaluate": {"split": "val"}, "detect": {"nms_iou": 0.4, "proposals": 49}})
    found = told(project)
    assert found["detect_joint"] == "params: detect.proposals and detect.nms_iou"
    assert found["evaluate_joint"] == "params: evaluate.split"
    assert found[""].startswith("6 of 21 stages would run;")


def test_a_key_that_is_new_and_a_section_that_is_new_are_named(project: Project) -> None:
    def forget(stages: dict[str, Any]) -> None:
        del stages["evaluate_joint"]["params"]["params.yaml"]["evaluate"]["split"]
        del stages["resize"]["params"]["params.yaml"]["base"]

    change_lock(project, forget)
    found = told(project)
    assert found["evaluate_joint"] == "params: evaluate.split (in DVC's cache)"
    assert found["resize"].startswith("params: base")


def test_data_outputs_and_commands_are_named(project: Project) -> None:
    (project.data / "raw/more.jpg").touch()
    shutil.rmtree(project.data / "weights")
    shutil.rmtree(project.data / "features")
    (project.data / "proposals_step1/manifest.json").chmod(0o644)
    edit(project, "data/proposals_step1/manifest.json", "\n")
    graph = project.root / "dvc.yaml"
    graph.write_text(
        graph.read_text().replace("--out data/finetune_joint", "--stage finetune_joint --out data/finetune_joint")
    )
    found = told(project)
    assert found["dataset"] == "data/raw has changed"
    assert found["backbone"] == "data/weights is missing"
    assert found["features"] == "data/features is missing"
    assert found["proposals_step1"] == "data/proposals_step1 has changed"
    assert found["finetune_joint"] == "its command has changed"


def test_a_stage_whose_input_was_made_anew_would_run_although_nothing_before_it_would(project: Project) -> None:
    def rerun(stages: dict[str, Any]) -> None:
        """As if detect_joint alone had run again, with another output."""
        for dep in stages["evaluate_joint"]["deps"]:
            if dep["path"] == "data/detect_joint":
                dep["md5"] = f"{'0' * 32}.dir"

    change_lock(project, rerun)
    found = told(project)
    assert found == {
        "evaluate_joint": "data/detect_joint has changed (in DVC's cache)",
        "": "1 of 21 stages would run; frcnn repro takes the results from DVC's cache and runs none",
    }


def as_if_another_rate_had_run(project: Project) -> None:
    def change(stages: dict[str, Any]) -> None:
        stages["finetune_joint"]["params"]["params.yaml"]["finetune_joint"]["lr"] = 9.0

    change_lock(project, change)


def test_results_in_the_cache_are_named_those_of_later_stages_too(project: Project) -> None:
    as_if_another_rate_had_run(project)
    found = told(project)
    assert found.pop("").endswith(
        "if what they read changes; frcnn repro takes the results from DVC's cache and runs none"
    )
    assert found["finetune_joint"] == "params: finetune_joint.lr (in DVC's cache)"
    assert len(found) > 2 and all(text.endswith(" (in DVC's cache)") for text in found.values())


def test_stages_without_a_result_in_the_cache_are_counted_apart(project: Project) -> None:
    as_if_another_rate_had_run(project)
    project.set_params({"evaluate": {"split": "val"}})
    found = told(project)
    assert found["evaluate_joint"] == "params: evaluate.split"
    assert "; frcnn repro takes the results of " in found[""] and found[""].endswith("cache and runs the others")


@pytest.mark.parametrize("gone", [".dvc/cache/runs", ".dvc/cache/files"])
def test_nothing_is_called_cached_whose_record_or_files_are_gone(project: Project, gone: str) -> None:
    as_if_another_rate_had_run(project)
    shutil.rmtree(project.root / gone)
    found = told(project)
    assert "in DVC's cache" not in "".join(text for name, text in found.items() if name)
    assert found[""].endswith(HOW)


def test_what_is_no_longer_in_the_cache_is_named(project: Project) -> None:
    shutil.rmtree(project.root / ".dvc/cache/files")
    assert told(project)["dataset"] == "data/dataset is not in the cache"
    edit(project, "pipeline/datasets/voc.py", "A = 1\n")
    assert told(project)["dataset"].startswith("code: pipeline/datasets/voc.py; "), (
        "the lock in data/code is the earlier"
    )
    shutil.rmtree(project.data / "code")
    assert told(project)["dataset"].startswith("code: has changed (its earlier lock is not in the cache);")


def test_a_library_is_named_with_both_versions(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.runtime.code_locks.tree.version", lambda name: "99.1")
    assert re.fullmatch(r"code: cv2 \S+ to 99\.1, numpy \S+ to 99\.1 and pyarrow \S+ to 99\.1", told(project)["resize"])


def test_a_module_of_stages_that_is_gone_is_named(project: Project) -> None:
    (project.root / "stages/detect.py").unlink()
    with pytest.raises(InputError, match=r"^stages\.detect: no such module in .*; put it back, or check the name$"):
        stage_status(project.root)


def test_without_a_graph_nothing_is_called_up_to_date(project: Project) -> None:
    (project.root / "dvc.yaml").unlink()
    with pytest.raises(InputError, match=r"dvc\.yaml: no such file; frcnn graph writes it"):
        stage_status(project.root)
    (project.root / "dvc.yaml").write_text("plots: []\n")
    with pytest.raises(InputError, match=r"dvc\.yaml: no stages; restore it"):
        stage_status(project.root)


def test_a_run_from_before_there_were_locks_is_told_as_such(project: Project) -> None:
    def unlock(stages: dict[str, Any]) -> None:
        del stages["code"]
        for stage in stages.values():
            stage["cmd"] = re.sub(r" --code \S+", "", stage["cmd"])
            stage["deps"] = [dep for dep in stage["deps"] if "data/code" not in dep["path"]]
            stage["deps"].append({"path": "pipeline/runtime/errors.py", "hash": "md5", "md5": "0" * 32, "size": 1})

    change_lock(project, unlock)
    found = told(project)
    assert found.pop("").startswith("21 of 21 stages would run; ")
    assert set(found.values()) == {"code: its last run had no code lock (in DVC's cache)"}


def test_a_project_that_never_ran_lists_all(tmp_path: Path) -> None:
    project = new_project(tmp_path / "new", {})
    found = told(project)
    assert found.pop("") == f"21 of 21 stages would run; {HOW}"
    assert set(found.values()) == {"has not run"} and len(found) == 21
    ended = run_frcnn(project.root / "stages", "status")
    assert ended.returncode == 1
    assert ended.stderr.endswith("no DVC repository here; run it in the project's folder\n")
    assert ended.stderr.count("\n") == 1


@pytest.mark.long
def test_files_added_to_dvc_are_no_stages_that_have_not_run(project: Project) -> None:
    (project.root / "notes.txt").write_text("notes")
    result = project.run("dvc", "add", "--quiet", "notes.txt")
    assert result.returncode == 0, result.stderr
    assert stage_status(project.root) == ["22 stages, all up to date"]


def test_it_says_what_runs_just_now_and_waits_for_nothing(project: Project) -> None:
    busy = {"write": {str(project.data / "resize"): {"pid": os.getpid(), "cmd": "dvc repro"}}, "read": {}}
    (project.root / ".dvc/tmp").mkdir(exist_ok=True)
    (project.root / ".dvc/tmp/rwlock").write_text(json.dumps(busy))
    found = told(project)
    assert found["resize"] == f"runs now (process {os.getpid()})"
    assert found["anchor_targets"] == "only if the output of resize changes"


@pytest.mark.parametrize(
    ("file", "old", "new", "line"),
    [
        (
            "params.yaml",
            "  split: test",
            "  split: test\n  splitt: test",
            r"params\.yaml: unknown parameter evaluate\.splitt; ",
        ),
        ("params.yaml", "evaluate:", "evaluate: [", "params.yaml"),
        (
            "pipeline/families/faster_rcnn/nn/rpn.py",
            "\nclass ",
            "\nclass class ",
            r"pipeline/families/faster_rcnn/nn/rpn.py:\d+: invalid syntax; fix it",
        ),
        ("dvc.yaml", "stages:", "stages: [", r"dvc\.yaml: not valid YAML \(line \d+, "),
        ("dvc.lock", "stages:", "stages: [", "dvc cannot read the graph: "),
    ],
)
def test_what_is_wrong_takes_one_line(project: Project, file: str, old: str, new: str, line: str) -> None:
    path = project.root / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=line) as caught:
        stage_status(project.root)
    assert "\n" not in str(caught.value)
