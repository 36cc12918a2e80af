"""Which runs a plan has."""

from __future__ import annotations

from collections import Counter

import pytest
from dvc.repo import Repo

from pipeline.orchestrate.ablations import changed_params
from pipeline.orchestrate.graph import nodes_of
from pipeline.runtime.errors import InputError
from pipeline.workers.lock_entries import declared_stages
from pipeline.workers.plan import Plan, plan_of
from tests.conftest import Project, new_project
from tests.defaults import DEFAULT_TEXT

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # of DVC's use of pygtrie


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return new_project(tmp_path_factory.mktemp("plan") / "project", {})


def planned(project: Project, **changes: dict[str, object]) -> Plan:
    with Repo(str(project.root)) as repo:
        nodes, declared = nodes_of(repo), declared_stages(repo)
    return plan_of(nodes, declared, {name: changed_params(DEFAULT_TEXT, own) for name, own in changes.items()})


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
    with Repo(str(project.root)) as repo:
        nodes, declared = nodes_of(repo), declared_stages(repo)
    bad = DEFAULT_TEXT.replace("momentum: 0.9", "momentum: 2")
    with pytest.raises(InputError, match=r"experiment b: parameter solver\.momentum"):
        plan_of(nodes, declared, {"a": DEFAULT_TEXT, "b": bad})
