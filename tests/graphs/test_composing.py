"""dvc.yaml put together of the common graph file and a family's; what a graph file must be is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline.graphs.command_family import is_of_family
from pipeline.graphs.composing import composed
from pipeline.graphs.stamp import stamp_of
from pipeline.runtime.errors import InputError
from tests.conftest import ROOT
from tests.defaults import copy_graphs
from tests.in_process import OF_FAMILIES

STAGE = """\
  toy:
    cmd: >-
      python -m stages.train_dense --family toy --params base,toy
      --code data/code/train_dense-toy.json --out data/toy
    deps: [data/code/train_dense-toy.json]
    params: [base, toy]
    outs: [data/toy]
"""


def graph(root: Path, text: str) -> Path:
    """A folder with the graph file of a family `toy`."""
    copy_graphs(root)
    (root / "graphs/toy.yaml").write_text(text)
    return root


def test_the_committed_graph_is_made_from_the_files_to_the_letter() -> None:
    assert composed(ROOT, "faster_rcnn") == (ROOT / "dvc.yaml").read_text(encoding="utf-8"), "run frcnn graph"


@pytest.mark.parametrize("file", sorted((ROOT / "graphs").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_graph_file_is_yaml_of_its_own(file: Path) -> None:
    assert yaml.safe_load(file.read_text(encoding="utf-8"))["stages"]


def test_comments_of_both_files_are_kept_where_they_stand(tmp_path: Path) -> None:
    text = (
        f"# Of the toy.\n# Two lines.\n\n# Of stages.\nstages: # beside\n  # Of one.\n{STAGE}\n"
        "# Of metrics.\nmetrics:\n  - data/toy/m.json # a metric\n\n# Of plots.\nplots:\n  - a: {x: b}\n# End.\n"
    )
    made = composed(graph(tmp_path, text), "toy")
    assert stamp_of(made) == ("toy", True)
    begin = "\n#\n# Of the toy.\n# Two lines.\n#\n# The graph of every family of detectors begins with "
    metrics = "metrics: # beside those of the evaluate stages\n  - data/dataset/metrics.json\n"
    assert begin in made and "  # DVC does not track imports" in made
    assert "\n\n  # Of stages.\n  # beside\n  # Of one.\n  toy:\n" in made
    assert f"\n\n{metrics}  # Of metrics.\n  - data/toy/m.json # a metric\n\n# Of plots.\nplots:\n" in made
    assert made.endswith("\n  - a: {x: b}\n# End.\n")
    content = yaml.safe_load(made)
    assert list(content["stages"]) == ["code", "dataset", "backbone", "resize", "toy"]
    assert content["metrics"] == ["data/dataset/metrics.json", "data/toy/m.json"]


def test_stage_code_gets_the_locks_of_what_the_commands_run(tmp_path: Path) -> None:
    made = yaml.safe_load(composed(graph(tmp_path, f"stages:\n{STAGE}"), "toy"))
    names = ["backbone", "dataset", "resize", "train_dense-toy"]
    assert made["stages"]["code"]["outs"] == [f"data/code/{name}.json" for name in names]


def replaced(old: str, new: str) -> Callable[[str], str]:
    assert old in STAGE
    return lambda text: text.replace(old, new)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (replaced("  toy:\n", "  resize:\n"), "toy.yaml: stage resize is one of {root}/graphs/common.yaml too"),
        (replaced("  toy:\n", "  code:\n"), "toy.yaml: stage code is one of "),
        (lambda text: "", "toy.yaml: declares no stages; write them under `stages:`"),
        (lambda text: "plots: []\n", "toy.yaml: declares no stages; "),
        (lambda text: "stages: 3\n", "toy.yaml: declares no stages; "),
        (lambda text: "- stages\n", "toy.yaml: declares no stages; "),
        (lambda text: "stages: {toy: }\n", "toy.yaml: stage toy has no cmd, one line of text; write python -m"),
        (lambda text: f"{text}{text[8:]}", "toy.yaml: not valid YAML (line 9, column 3: "),
        (lambda text: f"{text}  other: [\n", "toy.yaml: not valid YAML (line "),
        (replaced("python -m stages", "sh -c stages"), "toy.yaml: stage toy: command 'sh -c stages.train_dense "),
        (replaced("--params base,toy", ""), "--params is missing; write python -m stages.NAME"),
        (replaced("deps: [data/code/train_dense-toy.json]", "deps: [data/x]"), "toy would not run again where"),
        (replaced("--code data/code/train_dense-toy.json", ""), "write --code data/code/train_dense-toy.json in"),
        (
            replaced("--family toy ", ""),
            "toy.yaml: stage toy runs stages.train_dense, which is of a family; write --family toy",
        ),
        (replaced("--family toy", "--family faster_rcnn"), "is of a family; write --family toy"),
        (
            replaced("train_dense", "resize"),
            "toy.yaml: stage toy runs stages.resize, which is of no family; leave out --family toy",
        ),
        (replaced("-toy.json", ".json"), "write --code data/code/train_dense-toy.json in its cmd and "),
        (lambda text: text + "metrics: {a: 1}\n", "toy.yaml: metrics is of another kind than in the common graph"),
        (lambda text: text.replace("\n  ", "\n    "), "toy.yaml: cannot be put together with "),
    ],
)  # fmt: skip
def test_a_graph_file_that_is_wrong_is_one_line(tmp_path: Path, edit: Callable[[str], str], said: str) -> None:
    root = graph(tmp_path, edit(f"stages:\n{STAGE}"))
    with pytest.raises(InputError, match=r"^[^\n]+$") as error:
        composed(root, "toy")
    assert said.replace("{root}", str(root)) in str(error.value)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (
            replaced("  toy:\n", "  train_rpn_step1:\n"),
            "stage train_rpn_step1 is one of {other} too, with another cmd; give it another name, or the same cmd to "
            "share it",
        ),
        (
            replaced("outs: [data/toy]", "outs: [data/features]"),
            "stage toy writes data/features, as stage features of {other} does; write elsewhere",
        ),
        (
            replaced("outs: [data/toy]", "outs: [data/features/: {cache: false}]"),
            "stage toy writes data/features, as stage features of {other} does; write elsewhere",
        ),
    ],
)  # fmt: skip
def test_what_another_family_has_is_told_with_both_files(tmp_path: Path, edit: Callable[[str], str], said: str) -> None:
    root = graph(tmp_path, edit(f"stages:\n{STAGE}"))
    other = root / "graphs/faster_rcnn.yaml"
    with pytest.raises(InputError) as error:
        composed(root, "toy")
    assert str(error.value) == f"{root}/graphs/toy.yaml: {said.format(other=other)}"
    other.write_text("stages: [\n")
    composed(root, "toy")  # what is wrong with another family's file is no matter of this one


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("desc: Assign", "desc: We assign", None),
        ("gpu: 0, cores: 1, timeout_minutes: 480", "gpu: 0, cores: 2, timeout_minutes: 90", None),
        ("      - data/resize\n      - data/code", "      - data/code", "deps"),
        ("params: [base, backbone", "params: [backbone, base", None),
        ("params: [base, backbone, anchors", "params: [base, anchors", "params"),
        ("    outs:\n", "    frozen: true\n    outs:\n", "frozen"),
        ("      - data/anchor_targets\n", "      - data/anchor_targets: {persist: true}\n", "outs"),
    ],
)  # fmt: skip
def test_two_families_share_a_stage_that_runs_in_one_way(tmp_path: Path, old: str, new: str, key: str | None) -> None:
    rcnn = (ROOT / "graphs/faster_rcnn.yaml").read_text(encoding="utf-8")
    start = rcnn.index("  anchor_targets:\n")
    shared = rcnn[start : rcnn.index("\n\n", start) + 1]
    root = graph(tmp_path, f"stages:\n{shared}\n{STAGE}")
    made = yaml.safe_load(composed(root, "toy"))["stages"]
    assert made["anchor_targets"] == yaml.safe_load(rcnn)["stages"]["anchor_targets"] and "toy" in made
    assert old in shared
    (root / "graphs/toy.yaml").write_text(f"stages:\n{shared.replace(old, new)}\n{STAGE}")
    if key is None:
        composed(root, "toy")
        return
    with pytest.raises(InputError, match=rf"stage anchor_targets is one of .*, with another {key}; give it another"):
        composed(root, "toy")


def test_a_graph_file_that_is_missing_or_no_text_is_one_line(tmp_path: Path) -> None:
    root = graph(tmp_path, f"stages:\n{STAGE}")
    with pytest.raises(InputError, match=r"graphs/other\.yaml: no such file; a family's graph is declared there"):
        composed(root, "other")
    (root / "graphs/toy.yaml").write_bytes(b"stages: \xff")
    with pytest.raises(InputError, match=r"graphs/toy\.yaml: not valid YAML \(byte 9 is not UTF-8\); save it as UTF-8"):
        composed(root, "toy")


def test_the_common_file_must_leave_a_place_for_the_locks(tmp_path: Path) -> None:
    common = graph(tmp_path, f"stages:\n{STAGE}") / "graphs/common.yaml"
    common.write_text(common.read_text().replace("    outs: [] #", "    outs: [data/x] #"))
    with pytest.raises(
        InputError, match=r"common\.yaml: stage code must have the line `outs: \[\]`, which is filled in"
    ):
        composed(tmp_path, "toy")


def test_a_module_is_of_a_family_where_it_asks_run_stage_for_a_part(tmp_path: Path) -> None:
    modules = {path.stem for path in (ROOT / "stages").glob("*.py")}
    assert {module for module in modules if is_of_family(ROOT, module)} == set(OF_FAMILIES)
    assert is_of_family(tmp_path, "evaluate")  # no stages/ there
    (tmp_path / "stages").mkdir()
    for text, wanted in {
        "stage.run_stage(work, of_family='x')": True,
        "of_family = 'x'\nrun_stage(work)": False,
        "run_stage(work, of_family=None)": False,
        "run_stage(of_family='x'": False,  # no Python
    }.items():
        (tmp_path / "stages/evaluate.py").write_text(text)
        assert is_of_family(tmp_path, "evaluate") == wanted, text
    assert not is_of_family(tmp_path, "gone")
