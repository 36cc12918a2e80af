"""Figures of other parameters than the present ones, or of inputs that were replaced since, are named as such."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.families.registry import family_of
from pipeline.views.outdated import outdated
from pipeline.views.results import outdated_notes

PARAMS = {"train": {"lr": 0.1, "drops": [3, 4], "more": {"a": 1}}, "evaluate": {"split": "test"}}


def project(root: Path, **changes: Any) -> Path:
    """A training and its evaluation, as dvc.lock has them after a run."""
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))

    def entry(name: str, section: str, *deps: str) -> dict[str, Any]:
        files = [{"path": f"data/{dep}", "md5": f"of {dep}"} for dep in deps]
        code = {"path": f"data/code/{name}.json", "md5": "code"}
        params = {"params.yaml": {section: PARAMS[section]}}
        return {"deps": [code, *files], "params": params, "outs": [{"path": f"data/{name}", "md5": f"of {name}"}]}

    outs = [{"path": f"data/code/{name}.json", "md5": "other code"} for name in ("train", "evaluate", "other")]
    stages = {
        "code": {"outs": outs},
        "train": entry("train", "train"),
        "other": entry("other", "train"),
        "evaluate": entry("evaluate", "evaluate", "train"),
    }
    for stage, parts in changes.items():
        stages[stage].update(parts)
    (root / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    return root


def change(root: Path, section: str, **values: Any) -> None:
    (root / "params.yaml").write_text(yaml.safe_dump({**PARAMS, section: {**PARAMS[section], **values}}))


def test_nothing_is_out_of_date_after_a_run(tmp_path: Path) -> None:
    assert outdated(project(tmp_path), "evaluate") is None


@pytest.mark.parametrize(
    ("section", "values", "keys"),
    [
        ("train", {"lr": 0.2}, "train.lr"),
        ("train", {"drops": [3]}, "train.drops"),
        ("train", {"more": {"a": 2, "b": 1}}, "train.more.a, train.more.b"),
        ("train", {"lr": 1, "drops": [], "more": None, "new": 1}, "train.drops, train.lr, train.more and 1 more"),
        ("evaluate", {"split": "val"}, "evaluate.split"),
    ],
)
def test_changed_parameters_of_it_and_of_all_before_are_named(
    tmp_path: Path, section: str, values: dict[str, Any], keys: str
) -> None:
    change(project(tmp_path), section, **values)
    assert outdated(tmp_path, "evaluate") == f"params.yaml has changed since ({keys})"


def test_what_comes_after_a_stage_says_nothing_of_it(tmp_path: Path) -> None:
    change(project(tmp_path), "evaluate", split="val")
    assert outdated(tmp_path, "train") is None


def test_an_input_that_was_written_anew_is_named(tmp_path: Path) -> None:
    project(tmp_path, train={"outs": [{"path": "data/train", "md5": "of a newer run"}]})
    assert outdated(tmp_path, "evaluate") == "evaluate has read an earlier output of train"


@pytest.mark.parametrize("lock", [None, "", "stages: 3", "stages: {evaluate: {deps: 3}}", "["])
def test_without_a_record_nothing_is_claimed(tmp_path: Path, lock: str | None) -> None:
    project(tmp_path)
    (tmp_path / "dvc.lock").unlink()
    if lock is not None:
        (tmp_path / "dvc.lock").write_text(lock)
    assert outdated(tmp_path, "evaluate") is None


def test_results_name_the_networks_that_are_out_of_date(tmp_path: Path) -> None:
    project(tmp_path)
    lock = yaml.safe_load((tmp_path / "dvc.lock").read_text())
    lock["stages"]["evaluate_step4"] = lock["stages"].pop("evaluate")
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(lock))
    change(tmp_path, "train", lr=0.2)
    assert outdated_notes(tmp_path, family_of("faster_rcnn")) == [
        "step 4 (shared): out of date: params.yaml has changed since (train.lr); run frcnn repro"
    ]
