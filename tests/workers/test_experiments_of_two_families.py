"""Experiments of two families in one repository: each is kept with its graph, and can be applied."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from pipeline.orchestrate.lock_entries import LockEntry
from pipeline.workers.experiments import keep_experiments, kept_figures
from pipeline.workers.setting import Setting
from tests.workers.two_graphs import CODE, TwoGraphs, default_setting, other_setting, two_graphs

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # of DVC's use of pygtrie


def test_each_is_kept_with_its_graph_and_its_lock_and_after_it_is_applied_nothing_runs(
    tmp_path: Path, other_family: Setting
) -> None:
    settings = {"one": default_setting(), "two": other_setting(other_family)}
    made = two_graphs(tmp_path / "project", settings["one"])
    locks: dict[str, dict[str, LockEntry]] = {}
    for name, setting in settings.items():
        made.use(setting)
        assert made.repro()
        stages = {"dataset", *(stage for stage in made.lock() if f"{stage}:" in setting.graph)} - {"code"}
        locks[name] = {stage: made.lock()[stage] for stage in stages}
    assert len(locks["one"]) == 4 and len(locks["two"]) == 3
    made.use(settings["one"])
    workspace, lock = made.texts(), made.lock()
    keep_experiments(made.root, settings, locks.__getitem__, CODE, lambda _: None)
    assert (made.texts(), made.lock()) == (workspace, lock)
    networks = {name: set(figures) for name, figures in kept_figures(made.root).items()}
    assert networks == {"one": {"step2", "step4", "joint"}, "two": {"other", "later"}}

    for name in ("two", "one", "two"):
        apply(made, name)
        assert made.texts() == settings[name].files()
        # Those of the other family are as they were.
        assert made.lock().keys() == lock.keys()
        both = {**locks["one"], **locks["two"], **locks[name]}
        assert {stage: made.lock()[stage] for stage in both} == both
        assert made.status() == {}
        assert made.repro() == []
        assert all(
            (made.root / path).read_text() == text for path, text in CODE.items() if path in settings[name].graph
        )
    assert (made.root / "data/train_later/model.txt").read_text() == "weights of later, seed-0"


def test_of_a_graph_that_does_not_evaluate_all_networks_the_figures_of_the_others_are_kept(tmp_path: Path) -> None:
    whole = default_setting()
    content = yaml.safe_load(whole.graph)
    del content["stages"]["evaluate_step2"]  # not there
    joint = content["stages"]["evaluate_joint"]
    joint["metrics"], joint["cmd"] = ["data/joint/metrics.json"], joint["cmd"].replace("evaluate_joint/", "joint/")
    setting = Setting(whole.params, yaml.safe_dump(content))
    made = two_graphs(tmp_path / "project", setting)
    made.repro()
    keep_experiments(made.root, {"one": setting}, lambda _: made.lock(), CODE, lambda _: None)
    assert kept_figures(made.root) == {"one": {"step4": {"mAP50": 0.1, "images": 8}}}


def apply(made: TwoGraphs, name: str) -> None:
    with Repo(str(made.root)) as repo:
        repo.experiments.apply(name)
