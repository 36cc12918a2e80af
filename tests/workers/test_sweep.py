"""What a sweep does with what workers leave; the runs themselves are in test_on_workers.py."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.families.family import Family
from pipeline.runtime.errors import InputError
from pipeline.workers import deciding, sweep, sweep_file
from pipeline.workers.setting import Experiment, Experiments, Setting
from tests.conftest import ROOT
from tests.workers.conftest import graph_of

RATES = "name: r\ngrid: {train_head_step4.lr: [0.001, 0.002, 0.003]}\n"
OF_VAL = {"r-1": 0.5, "r-2": 0.7, "r-3": 0.6}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project that has nothing but parameters, with val images."""
    text = (ROOT / "params.yaml").read_text()
    assert text.count("    val: 0") == 1
    root = tmp_path / "project"
    (root / ".dvc/tmp").mkdir(parents=True)
    (root / "params.yaml").write_text(text.replace("    val: 0", "    val: 8"))
    (root / "dvc.yaml").write_text(graph_of("step2", "step4", "joint"))
    (root / "sweep.yaml").write_text(RATES)
    return root


def figures_of(family: Family, name: str) -> dict[str, dict[str, float]]:
    """By network; they differ between the networks, so that a table of another one's is seen."""
    return {
        network: {"mAP50": OF_VAL.get(name, 0.4) - number / 100, "AP": 0.2, f"of_{family.name}": 1.0, "images": 8.0}
        for number, network in enumerate(sorted(family.networks, key=lambda network: network != family.judged))
    }


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Experiments]:
    """Workers that are done at once with all but what is called r-2 with `failing`; what they were asked for."""
    runs: list[Experiments] = []

    def run(root: Path, stages: Sequence[str], log: Callable[[str], None], experiments: Experiments) -> None:
        runs.append(experiments)
        failing = (root / "failing").read_text().split() if (root / "failing").exists() else []
        figures = {
            name: figures_of(setting.family(), name)
            for name, setting in experiments.settings().items()
            if name not in failing
        }
        (root / ".dvc/tmp/frcnn-sweep.json").write_text(json.dumps(figures))
        if failing:
            raise InputError("train_head_step4: loss is not finite at iteration 3")

    monkeypatch.setattr(sweep, "run_on_workers", run)
    return runs


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


@pytest.fixture
def two_presets(root: Path, other_family: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """`default` and `other` as presets, each of a family of its own."""
    texts = {
        "default": ((root / "dvc.yaml").read_text(), (root / "params.yaml").read_text()),
        "other": (other_family.graph, other_family.params),
    }
    monkeypatch.setattr(sweep_file, "preset_texts", lambda _, name: texts[name])


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
