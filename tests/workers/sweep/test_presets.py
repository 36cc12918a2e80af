"""Sweeps over presets of two families: one table, by the network that judges each, on equal terms."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runtime.errors import InputError
from pipeline.workers import deciding, sweep, sweep_file
from pipeline.workers.setting import Experiment, Experiments
from tests.workers.sweep.figures import OF_VAL


def test_among_experiments_of_which_some_have_the_figure_the_best_of_those_is_chosen(
    root: Path, asked: list[Experiments], two_presets: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "part_exists", lambda *_: True)
    (root / "sweep.yaml").write_text("name: f\npresets: [default, other]\nfigure: of_other\n")
    lines: list[str] = []
    with pytest.raises(InputError, match=r"^of_other: no number of that name in metrics.json of f-default; evaluate_s"):
        sweep.run_sweep(root, root / "sweep.yaml", lines.append)
    assert [line.split()[0] for line in lines[-1].splitlines()[1:]] == ["f-other", "f-default", "f-other-test"]


def test_a_figure_that_a_family_cannot_have_is_told_before_anything_starts(
    root: Path, asked: list[Experiments], two_presets: None
) -> None:
    (root / "sweep.yaml").write_text("name: f\npresets: [default, other]\nfigure: proposal_recall50\n")
    told = (
        r"^figure: the family other has no figure proposal_recall50; it has those that all have: mAP50, mAP50_11point"
    )
    with pytest.raises(InputError, match=told):
        sweep.run_sweep(root, root / "sweep.yaml", lambda _: None)
    assert asked == []


def test_presets_of_two_families_end_in_one_table(
    root: Path, asked: list[Experiments], two_presets: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "sweep.yaml").write_text(
        "name: f\npresets: {default: {detect.proposals: 50}, other: {}}\ngrid: {base.seed: [0]}\n"
    )
    monkeypatch.setitem(OF_VAL, "f-other-1", 0.9)
    table = sweep.run_sweep(root, root / "sweep.yaml", lambda _: None)
    assert list(table.index) == ["f-other-1", "f-default-1", "f-other-1-test"]
    # What one family alone has is not a column, but for the parameters that were changed.
    assert list(table.columns) == ["preset", "network", "detect.proposals", "base.seed", "mAP50", "AP", "images"]
    assert list(table["network"]) == ["other", "step4", "other"]
    assert list(table["preset"]) == ["other", "default", "other"]
    assert list(table["mAP50"]) == [0.9, 0.4, 0.4]
    assert [own.family().name for own in asked[0].settings().values()] == ["faster_rcnn", "other"]
    assert list(asked[1].starts) == ["other"]


@pytest.mark.parametrize(
    ("network", "networks"),
    [
        ("", ["step4", "other"]),
        ("network: {other: later}", ["step4", "later"]),
        ("network: {faster_rcnn: joint}", ["joint", "other"]),
    ],
)
def test_each_family_is_judged_by_its_network_unless_another_is_named(
    root: Path, asked: list[Experiments], two_presets: None, network: str, networks: list[str]
) -> None:
    (root / "sweep.yaml").write_text(f"name: f\npresets: [default, other]\nchoose: none\n{network}\n")
    table = sweep.run_sweep(root, root / "sweep.yaml", lambda _: None).sort_index()
    assert list(table["network"]) == networks
    assert len(set(table["mAP50"])) == len({name in ("step4", "other") for name in networks})


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ("joint", "family other has no network joint; it has other, later; network: {other: other} names one"),
        ("later", "family faster_rcnn has no network later; it has step2, step4, joint; network: {faster_rcnn: step4}"),
        ("{other: joint}", "family other has no network joint"),
        (
            "{nofamily: joint}",
            "network.nofamily: no experiment is of a family nofamily; they are of faster_rcnn, other",
        ),
    ],
)
def test_a_network_that_a_family_lacks_is_told_before_anything_starts(
    root: Path, asked: list[Experiments], two_presets: None, network: str, told: str
) -> None:
    (root / "sweep.yaml").write_text(f"name: f\npresets: [default, other]\nnetwork: {network}\n")
    with pytest.raises(InputError) as caught:
        sweep.run_sweep(root, root / "sweep.yaml", lambda _: None)
    assert told in str(caught.value) and asked == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ("{evaluate.score_threshold: 0.2}", "evaluate.score_threshold is 0.05 in f-default and 0.2 in f-other"),
        ("{evaluate.per_image: 50}", "evaluate.per_image is 100 in f-default and 50 in f-other"),
        ("{evaluate.split: val}", "evaluate.split is test in f-default and val in f-other"),
    ],
)
def test_figures_by_other_thresholds_limits_or_splits_are_refused(
    root: Path, asked: list[Experiments], two_presets: None, changes: str, told: str
) -> None:
    (root / "sweep.yaml").write_text(f"name: f\npresets: {{default: {{}}, other: {changes}}}\nchoose: none\n")
    with pytest.raises(InputError) as caught:
        sweep.run_sweep(root, root / "sweep.yaml", lambda _: None)
    assert str(caught.value).startswith(told) and asked == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ("{dataset.shapes.train: 9, dataset.shapes.test: 50}", None),
        (
            "{dataset.shapes.val: 9, dataset.shapes.image_size: 192}",
            "dataset.shapes.val, dataset.shapes.image_size",
        ),
        ("{base.seed: 1}", "base.seed"),
    ],
)
def test_where_not_all_are_judged_on_the_same_images_it_is_said(
    root: Path, asked: list[Experiments], two_presets: None, changes: str, named: str | None
) -> None:
    (root / "sweep.yaml").write_text(f"name: f\npresets: {{default: {{}}, other: {changes}}}\n")
    lines: list[str] = []
    sweep.run_sweep(root, root / "sweep.yaml", lines.append)
    said = [line for line in lines if "same images" in line]
    assert [line.partition(":")[0] for line in said] == ([named] if named else [])


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        # A section, a key of a common section, a block.
        ("rpn.channels", "write it beside a preset that has it, presets: {default: {rpn.channels: VALUE}}"),
        (
            "evaluate.recall_proposals",
            "write it beside a preset that has it, presets: {default: {evaluate.recall_proposals: VALUE}}",
        ),
        ("nothing.lr", "docs/parameters.md lists them"),
        ("solver.nothing", "docs/parameters.md lists them"),
        ("dataset.shapes.nothing", "docs/parameters.md lists them"),
        ("solver.momentum.nothing", "docs/parameters.md lists them"),
    ],
)
@pytest.mark.parametrize("source", ["grid: {%s: [1]}", "experiments: {'1': {%s: 1}}"])
def test_a_parameter_that_a_family_lacks_is_told_in_the_same_words_wherever_it_stands(
    root: Path, asked: list[Experiments], two_presets: None, key: str, remedy: str, source: str
) -> None:
    (root / "sweep.yaml").write_text(f"name: f\npresets: [other, default]\n{source % key}\n")
    with pytest.raises(InputError) as caught:
        sweep.run_sweep(root, root / "sweep.yaml", lambda _: None)
    assert str(caught.value) == f"experiment f-other-1: {key}: the family other has no such parameter; {remedy}"
    assert asked == []


def test_an_experiment_is_what_its_preset_and_its_own_changes_say(two_presets: None, root: Path) -> None:
    (root / "sweep.yaml").write_text(
        "name: f\npresets: {other: {base.seed: 1, solver.momentum: 0.5}}\n"
        "experiments: {a: {base.seed: 2}, b: {}, again: {base.seed: 2}}\n"
    )
    tried = sweep_file.read_sweep(root / "sweep.yaml").tried(root)
    assert tried.tried == {
        "f-other-a": Experiment("other", {"base.seed": 2, "solver.momentum": 0.5}),
        "f-other-b": Experiment("other", {"base.seed": 1, "solver.momentum": 0.5}),
    }
    assert "seed: 2" in tried.settings()["f-other-a"].params
