"""Which runs a plan has."""

from __future__ import annotations

from collections import Counter

import pytest
import yaml

from pipeline.families.registry import family_of
from pipeline.graphs.composing import composed
from pipeline.orchestrate.code_stage import locks_of_graphs, md5_of
from pipeline.presets.defaults import default_text
from pipeline.runtime.errors import InputError
from pipeline.workers.graphs import Graphs
from pipeline.workers.plan import Plan, plan_of
from pipeline.workers.setting import Setting, present_setting
from tests.conftest import Project, new_project
from tests.families.points_project import install, visible

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # of DVC's use of pygtrie


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = new_project(tmp_path_factory.mktemp("plan") / "project", {})
    install(project.root)
    return project


def planned(project: Project, **changes: dict[str, object]) -> Plan:
    setting = present_setting(project.root)
    return plan_of({name: setting.changed(own) for name, own in changes.items()}, Graphs(project.root).of)


def test_one_experiment_runs_every_stage_once_after_what_it_reads(project: Project) -> None:
    plan = planned(project, only={})
    names = [run.node.name for run in plan.runs]
    assert len(names) == len(set(names)) == len(plan.of_experiment["only"])
    for place, run in enumerate(plan.runs):
        assert all(plan.runs.index(other) < place for other in run.before.values())
        assert set(run.before) == {name for name in run.node.upstream}


def test_what_is_equal_in_two_experiments_is_run_once_and_what_differs_in_each(project: Project) -> None:
    plan = planned(project, a={"train_head_step4.lr": 0.001}, b={"train_head_step4.lr": 0.002}, c={})
    runs = Counter(run.node.name for run in plan.runs)
    judged = {f"{what}_{network}" for what in ("detect", "evaluate") for network in ("step4", "joint")}
    own = {"train_head_step4", "finetune_joint", *judged}
    assert {name for name, count in runs.items() if count == 3} == own
    assert {count for name, count in runs.items() if name not in own} == {1}
    assert plan.of_experiment["a"]["features"] is plan.of_experiment["b"]["features"]
    assert plan.of_experiment["a"]["train_head_step4"] is not plan.of_experiment["b"]["train_head_step4"]


def test_runs_are_named_by_their_experiments_where_they_are_not_of_all(project: Project) -> None:
    plan = planned(project, **{f"lr-{i}": {"train_head_step4.lr": i / 1000 if i < 3 else 0.003} for i in range(1, 7)})
    names = [plan.name_of(run) for run in plan.runs]
    assert len(set(names)) == len(names)
    assert "step 1: train_rpn_step1" in names
    assert "step 4: train_head_step4 (lr-1)" in names
    assert "step 4: train_head_step4 (lr-3, lr-4, lr-5 and 1 more)" in names


def test_a_value_that_cannot_be_names_the_experiment(project: Project) -> None:
    setting = present_setting(project.root)
    bad = Setting(setting.params.replace("momentum: 0.9", "momentum: 2"), setting.graph)
    with pytest.raises(InputError, match=r"experiment b: parameter solver\.momentum"):
        plan_of({"a": setting, "b": bad}, Graphs(project.root).of)


def other_graph(graph: str) -> str:
    """A graph that begins as `graph` does and goes on with stages of its own."""
    stages = yaml.safe_load(graph)["stages"]
    common = {name: stages[name] for name in ("code", "dataset", "backbone", "resize")}
    own = {
        "cmd": "python -m stages.resize --family other",
        "deps": ["data/dataset", "data/resize", "data/code/resize-other.json"],
        "params": ["solver"],
        "outs": ["data/other_targets"],
        "meta": {"cores": "${base.threads}"},
    }
    return str(yaml.safe_dump({"stages": {**common, "other_targets": own}}))


def test_graphs_of_two_families_share_the_stages_that_both_have(project: Project) -> None:
    one = present_setting(project.root)
    other = Setting(one.params.replace("threads: 2", "threads: 3"), other_graph(one.graph))
    same = Setting(one.params, other.graph)
    graphs = Graphs(project.root, (), {"data/code/resize-other.json": "0" * 32})
    plan = plan_of({"a": one, "b": same, "c": other}, graphs.of)
    runs = plan.of_experiment
    assert set(runs["b"]) == {"dataset", "backbone", "resize", "other_targets"} and len(runs["a"]) > 20
    assert {name: run is runs["a"].get(name) for name, run in runs["b"].items()} == {
        **dict.fromkeys(("dataset", "backbone", "resize"), True),
        "other_targets": False,
    }
    assert len(plan.runs) == len(runs["a"]) + 1 + 4  # of c all: base is read by the data set, on which all depends
    assert runs["b"]["other_targets"].setting == same
    assert runs["b"]["other_targets"].declared.files == {"data/code/resize-other.json": "0" * 32}
    assert [runs[name]["other_targets"].node.meta.cores for name in ("b", "c")] == [2, 3]


def test_a_whole_family_is_planned_beside_another_by_locks_that_are_on_no_disk(project: Project) -> None:
    one = present_setting(project.root)
    with visible():
        two = Setting(default_text(family_of("points")), composed(project.root, "points"))
        locks = locks_of_graphs(project.root, [one.graph, two.graph])
        digests = {path: md5_of(lock) for path, lock in locks.items()}
        plan = plan_of({"one": one, "two": two}, Graphs(project.root, (), digests).of)
    own = ["points_targets", "train_points", "detect_points", "evaluate_points"]
    assert [run.node.name for run in plan.runs if run.experiments == ["two"]] == own
    assert [run.node.name for run in plan.runs if len(run.experiments) == 2] == ["dataset", "backbone", "resize"]
    path = "data/code/evaluate-points.json"
    assert plan.of_experiment["two"]["evaluate_points"].declared.files == {path: digests[path]}
    assert not (project.root / path).exists()


def test_a_graph_whose_sections_the_parameters_lack_names_both_and_the_remedy(project: Project) -> None:
    one = present_setting(project.root)
    graph = one.graph.replace("params: [evaluate]", "params: [evaluate, points]")
    told = r"^params\.yaml: has no section points, which stage evaluate_\w+ of dvc\.yaml reads; .*frcnn preset$"
    with pytest.raises(InputError, match=told):
        plan_of({"workspace": Setting(one.params, graph)}, Graphs(project.root).of)


@pytest.mark.parametrize(
    "graph", ["stages: 7", "- a", "stages: {a: {cmds: x}}", "stages: [", "\t", "stages: {a: {cmd: '${b.c}'}}"]
)
def test_a_graph_that_dvc_cannot_read_is_one_line_that_names_the_experiment(project: Project, graph: str) -> None:
    one = present_setting(project.root)
    with pytest.raises(InputError, match=r"^experiment b: dvc cannot read the graph: [^\n]+$"):
        plan_of({"a": one, "b": Setting(one.params, graph)}, Graphs(project.root).of)
