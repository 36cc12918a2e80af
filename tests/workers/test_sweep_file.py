"""What a sweep's file may hold."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.families.registry import present_family
from pipeline.runtime.errors import InputError
from pipeline.workers.setting import Experiment, Experiments, present_setting
from pipeline.workers.sweep_file import read_sweep
from tests.conftest import ROOT


def changes_of(tried: Experiments) -> dict[str, object]:
    return {name: own.changes for name, own in tried.tried.items()}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return path


def test_a_grid_is_all_combinations(tmp_path: Path) -> None:
    sweep = read_sweep(written(tmp_path, "name: g\ngrid: {solver.momentum: [0.8, 0.9], rpn.channels: [16, 32]}"))
    assert changes_of(sweep.tried(ROOT)) == {
        "g-1": {"solver.momentum": 0.8, "rpn.channels": 16},
        "g-2": {"solver.momentum": 0.8, "rpn.channels": 32},
        "g-3": {"solver.momentum": 0.9, "rpn.channels": 16},
        "g-4": {"solver.momentum": 0.9, "rpn.channels": 32},
    }
    assert (sweep.choose, sweep.network_of(present_family(ROOT)), sweep.figure) == ("val", "step4", "mAP50")


def test_a_list_has_names_of_its_own(tmp_path: Path) -> None:
    sweep = read_sweep(written(tmp_path, "name: h\nexperiments: {small: {roi_head.hidden: 8}, as-it-is: {}}\n"))
    assert changes_of(sweep.tried(ROOT)) == {"h-small": {"roi_head.hidden": 8}, "h-as-it-is": {}}


def test_ablations_are_the_papers_and_equal_ones_are_tried_once(tmp_path: Path) -> None:
    changes = changes_of(read_sweep(written(tmp_path, "name: paper\nablations: []\n")).tried(ROOT))
    assert changes["paper-base"] == {} and "paper-unshared" not in changes  # another network of the same run
    assert changes["paper-proposals-50"] == {"detect.proposals": 50}
    chosen = read_sweep(written(tmp_path, "name: paper\nablations: [proposals-50]\n")).tried(ROOT)
    assert list(chosen.tried) == ["paper-base", "paper-proposals-50"]


_NO_PRESETS = ("default", "3", "[]", "{}", "true")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: a", "give one of grid, experiments and ablations, or presets"),
        ("name: a\npresets: []", "presets"),
        ("name: a\npresets: default", "presets"),
        ("name: a\npresets: {default: {lr: 1}}", "presets.default.lr: write a parameter as section.key or"),
        ("name: a\npresets: [default]\ngrid: {a.b: [1]}\nablations: []", "give one of grid"),
        ("name: a\ngrid: {a.b: [1]}\nablations: []", "give one of grid, experiments and ablations"),
        ("name: a\ngrid: {a.b: []}", "grid.a.b"),
        ("name: a\ngrid: {lr: [1]}", "grid.lr"),
        ("name: a/b\nablations: []", "name: "),
        ("name: a\nablations: []\nchose: val", "chose: "),
        ("name: a\nablations: []\nnetwork: [step4]", "network"),
        ("name: [", "not valid YAML"),
        ("3", "valid dictionary"),
        *(
            (f"name: a\npresets: {value}", "presets: must be a list of names, [NAME, ...], or ch")
            for value in _NO_PRESETS
        ),
        ("name: a\npresets: [default, 3]", "presets: 3 is not a name of a preset; write [NAME, ...] or {NAME: {}"),
        ("name: a\npresets: [{default: {}}]", "presets: {'default': {}} is not a name of a preset; write"),
        ("name: a\npresets: [null]", "presets: None is not a name of a preset; write"),
        ("name: a\npresets: {3: {}}", "presets: 3 is not a name of a preset; write"),
        *(
            (f"name: a\n{source}: {{small: {value}}}", f"{source}.small: must hold changes, section.key: value; write")
            for source in ("presets", "experiments")
            for value in ("null", "3", "[a.b]")
        ),
        ("name: a\nexperiments: {small: {lr: 1}}", "experiments.small.lr: write a parameter as section.key or"),
        ("name: a\nexperiments: {a_b: {a.b: 1}}", "experiments.a_b: use letters, digits and - alone"),
        ("name: a\nexperiments: {}", "experiments: "),
        ("name: a\npresets: {small: {3: 1}}", "presets.small.3: write a parameter as section.key or"),
        ("name: a\ngrid: {a.b: 1}", "grid.a.b: must be a list of values to try; write a.b: [VALUE, ...]"),
    ],
)
def test_a_wrong_file_is_one_line_that_says_where(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError) as problem:
        read_sweep(written(tmp_path, text))
    assert told in str(problem.value) and "\n" not in str(problem.value)
    assert "[str]" not in str(problem.value) and "[key]" not in str(problem.value)


def test_no_file_and_an_unknown_ablation(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_sweep(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="no ablation 'x'"):
        read_sweep(written(tmp_path, "name: a\nablations: [x]")).tried(ROOT)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("presets: [nothing]", "no preset 'nothing'; there are "),
        ("ablations: []\nnetwork: step3", "the family faster_rcnn has no network step3; it has step2, step4, joint"),
        ("ablations: []\nnetwork: {faster_rcnn: a}", "the family faster_rcnn has no network a"),
    ],
)
def test_an_unknown_preset_or_network_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError) as problem:
        read_sweep(written(tmp_path, f"name: a\n{text}")).tried(ROOT)
    assert told in str(problem.value) and "\n" not in str(problem.value)


def test_without_presets_what_is_tried_starts_from_the_workspace() -> None:
    assert Experiments({"": present_setting(ROOT)}, {"a": Experiment("", {})}).settings() == {
        "a": present_setting(ROOT)
    }


def test_settings_have_the_changes_and_keep_the_comments_and_the_graph() -> None:
    setting = present_setting(ROOT)
    tried = {"a": Experiment("", {"solver.momentum": 0.5}), "b": Experiment("", {})}
    settings = Experiments({"": setting}, tried).settings()
    read = {name: yaml.safe_load(own.params) for name, own in settings.items()}
    before = yaml.safe_load(setting.params)["solver"]["momentum"]
    assert [read[name]["solver"]["momentum"] for name in ("a", "b")] == [0.5, before]
    assert "# conv1 and conv2" in settings["a"].params
    assert settings["a"].graph == setting.graph


def test_the_example_of_the_docs_can_be_run(tmp_path: Path) -> None:
    example = (ROOT / "docs/workers.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    assert len(read_sweep(written(tmp_path, example)).tried(ROOT).settings()) == 6


@pytest.mark.parametrize(
    "change",
    [{"solver.momentum": 5}, {"solver.nothing": 1}, {"nothing.lr": 1}, {"dataset.shapes.nothing": 1}, {"a.b.c": 1}],
)
def test_a_wrong_parameter_names_its_experiment(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"^experiment a: "):
        Experiments({"": present_setting(ROOT)}, {"a": Experiment("", change)}).settings()
