"""What a sweep does with what workers leave; the runs themselves are in test_on_workers.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.families.faster_rcnn.family import FAMILY
from pipeline.runtime.errors import InputError
from pipeline.workers import sweep
from tests.defaults import DEFAULT_TEXT, write_default_params

RATES = "name: r\ngrid: {train_head_step4.lr: [0.001, 0.002, 0.003]}\n"
OF_VAL = {"r-1": 0.5, "r-2": 0.7, "r-3": 0.6}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project that has nothing but parameters, with val images."""
    text = DEFAULT_TEXT
    assert text.count("    val: 0") == 1
    (tmp_path / "params.yaml").write_text(text.replace("    val: 0", "    val: 8"))
    (tmp_path / "sweep.yaml").write_text(RATES)
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Workers that are done at once with all but what is called r-2 with `failing`; what they were asked for."""
    runs: list[dict[str, Any]] = []

    def run(
        root: Path, stages: Sequence[str], log: Callable[[str], None], experiments: Mapping[str, Mapping[str, Any]]
    ) -> None:
        runs.append(dict(experiments))
        failing = (root / "failing").read_text().split() if (root / "failing").exists() else []
        figures = {
            name: {network: {"mAP50": OF_VAL.get(name, 0.4), "images": 8.0} for network in FAMILY.networks}
            for name in experiments
            if name not in failing
        }
        (root / ".dvc/tmp/frcnn-sweep.json").write_text(json.dumps(figures))
        if failing:
            raise InputError("train_head_step4: loss is not finite at iteration 3")

    monkeypatch.setattr(sweep, "run_on_workers", run)
    return runs


def test_the_best_on_val_is_judged_on_test(root: Path, asked: list[dict[str, Any]]) -> None:
    lines: list[str] = []
    table = sweep.run_sweep(root, root / "sweep.yaml", lines.append)
    assert list(table.index) == ["r-2", "r-3", "r-1", "r-2-test"]
    assert list(table["mAP50"]) == [0.7, 0.6, 0.5, 0.4]
    assert list(table["train_head_step4.lr"]) == ["0.002", "0.003", "0.001", "0.002"]
    assert [run["evaluate.split"] for run in asked[0].values()] == ["val"] * 3
    assert asked[1] == {"r-2-test": {"train_head_step4.lr": 0.002, "evaluate.split": "test"}}
    assert lines[:2] == ["3 experiments", "chosen on val: r-2"] and "r-2-test" in lines[2]


def test_nothing_is_chosen_where_that_is_asked_for(root: Path, asked: list[dict[str, Any]]) -> None:
    (root / "sweep.yaml").write_text(RATES + "choose: none\n")
    write_default_params(root)
    assert list(sweep.run_sweep(root, root / "sweep.yaml", lambda _: None).index) == ["r-2", "r-3", "r-1"]
    assert asked == [{f"r-{number}": {"train_head_step4.lr": number / 1000} for number in (1, 2, 3)}]


def test_one_that_fails_costs_none_of_the_others(root: Path, asked: list[dict[str, Any]]) -> None:
    (root / "failing").write_text("r-2")
    lines: list[str] = []
    with pytest.raises(InputError, match=r"^r-2: train_head_step4: loss is not finite at iteration 3$"):
        sweep.run_sweep(root, root / "sweep.yaml", lines.append)
    assert lines[1] == "chosen on val: r-3"
    assert [line.split()[0] for line in lines[2].splitlines()[1:]] == ["r-3", "r-1", "r-3-test"]


def test_where_all_fail_the_reason_alone_is_told(root: Path, asked: list[dict[str, Any]]) -> None:
    (root / "failing").write_text("r-1 r-2 r-3")
    with pytest.raises(InputError, match=r"^train_head_step4: loss"):
        sweep.run_sweep(root, root / "sweep.yaml", lambda _: None)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("text", "told"), [(RATES + "figure: mAP", "mAP: no figure of evaluate_step4; there are mAP50, images")]
)
def test_an_unknown_figure_is_told(root: Path, asked: list[dict[str, Any]], text: str, told: str) -> None:
    (root / "sweep.yaml").write_text(text)
    with pytest.raises(InputError, match=told):
        sweep.run_sweep(root, root / "sweep.yaml", lambda _: None)


def test_without_val_images_nothing_starts(root: Path, asked: list[dict[str, Any]]) -> None:
    write_default_params(root)
    with pytest.raises(InputError, match=r"dataset\.shapes\.val names none"):
        sweep.run_sweep(root, root / "sweep.yaml", lambda _: None)
    assert asked == []
