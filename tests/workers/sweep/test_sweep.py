"""What a sweep does with what workers leave; the runs themselves are in test_on_workers.py."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.runtime.errors import InputError
from pipeline.workers import sweep, sweep_file
from pipeline.workers.setting import Experiments
from tests.conftest import ROOT
from tests.workers.conftest import graph_of
from tests.workers.sweep.figures import RATES


def changes_of(run: Experiments) -> dict[str, dict[str, Any]]:
    return {name: dict(own.changes) for name, own in run.tried.items()}


def test_the_best_on_val_is_judged_on_test(root: Path, asked: list[Experiments]) -> None:
    lines: list[str] = []
    table = sweep.run_sweep(root, root / "sweep.yaml", lines.append)
    assert list(table.index) == ["r-2", "r-3", "r-1", "r-2-test"]
    assert list(table["mAP50"]) == [0.7, 0.6, 0.5, 0.4]
    assert list(table["train_head_step4.lr"]) == ["0.002", "0.003", "0.001", "0.002"]
    assert list(table.columns) == ["train_head_step4.lr", "mAP50", "images"]
    assert [own["evaluate.split"] for own in changes_of(asked[0]).values()] == ["val"] * 3
    assert changes_of(asked[1]) == {"r-2-test": {"train_head_step4.lr": 0.002, "evaluate.split": "test"}}
    assert lines[:2] == ["3 experiments", "chosen on val: r-2"] and "r-2-test" in lines[2]


def test_nothing_is_chosen_where_that_is_asked_for(root: Path, asked: list[Experiments]) -> None:
    (root / "sweep.yaml").write_text(RATES + "choose: none\n")
    shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
    assert list(sweep.run_sweep(root, root / "sweep.yaml", lambda _: None).index) == ["r-2", "r-3", "r-1"]
    assert list(map(changes_of, asked)) == [
        {f"r-{number}": {"train_head_step4.lr": number / 1000} for number in (1, 2, 3)}
    ]


def test_one_that_fails_costs_none_of_the_others(root: Path, asked: list[Experiments]) -> None:
    (root / "failing").write_text("r-2")
    lines: list[str] = []
    with pytest.raises(InputError, match=r"^r-2: train_head_step4: loss is not finite at iteration 3$"):
        sweep.run_sweep(root, root / "sweep.yaml", lines.append)
    assert lines[1] == "chosen on val: r-3"
    assert [line.split()[0] for line in lines[2].splitlines()[1:]] == ["r-3", "r-1", "r-3-test"]


def test_where_all_fail_the_reason_alone_is_told(root: Path, asked: list[Experiments]) -> None:
    (root / "failing").write_text("r-1 r-2 r-3")
    with pytest.raises(InputError, match=r"^train_head_step4: loss"):
        sweep.run_sweep(root, root / "sweep.yaml", lambda _: None)
    assert len(asked) == 1


@pytest.mark.parametrize("choose", ["val", "none"])
def test_a_figure_that_no_experiment_has_leaves_a_table_with_a_blank(
    root: Path, asked: list[Experiments], choose: str
) -> None:
    (root / "sweep.yaml").write_text(RATES + f"figure: mAP\nchoose: {choose}\n")
    lines: list[str] = []
    with pytest.raises(InputError) as caught:
        sweep.run_sweep(root, root / "sweep.yaml", lines.append)
    assert str(caught.value) == (
        "mAP: no number of that name in metrics.json of r-1, r-2, r-3; "
        "evaluate_step4 has mAP50, AP, of_faster_rcnn, images"
    )
    # None is chosen, and none judged on test.
    assert len(lines) == 2 and len(asked) == 1
    table = [line.split() for line in lines[1].splitlines()]
    assert table[0] == ["train_head_step4.lr", "mAP", "images"]
    assert table[1:] == [[f"r-{number}", f"0.00{number}", "8.000"] for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("networks", "told"),
    [
        (("step2", "joint"), "graphs/faster_rcnn.yaml, or choose by another network: network: {faster_rcnn: step2}"),
        ((), "graphs/faster_rcnn.yaml"),
    ],
)
def test_a_graph_that_does_not_evaluate_the_deciding_network_is_told_before_anything_starts(
    root: Path, asked: list[Experiments], networks: tuple[str, ...], told: str
) -> None:
    (root / "dvc.yaml").write_text(graph_of(*networks))
    with pytest.raises(InputError) as caught:
        sweep.run_sweep(root, root / "sweep.yaml", lambda _: None)
    assert str(caught.value) == (
        f"experiment r-1: its graph has no stage evaluate_step4, whose figures decide; add the stage to {told}"
    )
    assert asked == []


def test_without_val_images_nothing_starts(root: Path, asked: list[Experiments]) -> None:
    shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
    with pytest.raises(InputError, match=r"dataset\.shapes\.val names none"):
        sweep.run_sweep(root, root / "sweep.yaml", lambda _: None)
    assert asked == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "presets: [a, a-b]\nexperiments: {b-c: {base.seed: 1}, c: {base.seed: 2}}",
            "two experiments would be called f-a-b-c: with preset a and with preset a-b; "
            "give one under experiments another name",
        ),
        (
            "experiments: {low-test: {base.seed: 1}, low: {base.seed: 2}}",
            "experiment f-low-test has the name that f-low gets when it is chosen and judged on test; "
            "give one of the two another name, or choose: none",
        ),
        (
            "presets: [a, a-test]",
            "experiment f-a-test has the name that f-a gets when it is chosen and judged on test; "
            "give one of the two another name, or choose: none",
        ),
    ],
)
def test_names_that_meet_are_refused_before_anything_starts(
    root: Path, asked: list[Experiments], monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    params = (root / "params.yaml").read_text()
    monkeypatch.setattr(sweep_file, "preset_texts", lambda *_: ((root / "dvc.yaml").read_text(), params))
    (root / "sweep.yaml").write_text(f"name: f\n{text}\n")
    with pytest.raises(InputError) as caught:
        sweep.run_sweep(root, root / "sweep.yaml", lambda _: None)
    assert str(caught.value) == told and asked == []


def test_a_name_that_ends_with_test_is_free_where_nothing_is_judged_on_test(
    root: Path, asked: list[Experiments]
) -> None:
    (root / "sweep.yaml").write_text(
        "name: f\nexperiments: {low-test: {base.seed: 1}, low: {base.seed: 2}}\nchoose: none\n"
    )
    assert set(sweep.run_sweep(root, root / "sweep.yaml", lambda _: None).index) == {"f-low-test", "f-low"}
