"""What a sweep's file may hold."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.runtime.errors import InputError
from pipeline.workers.sweep_file import read_sweep, texts_of
from tests.conftest import ROOT
from tests.defaults import DEFAULT_TEXT


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return path


def test_a_grid_is_all_combinations(tmp_path: Path) -> None:
    sweep = read_sweep(written(tmp_path, "name: g\ngrid: {solver.momentum: [0.8, 0.9], rpn.channels: [16, 32]}"))
    assert sweep.changes(ROOT) == {
        "g-1": {"solver.momentum": 0.8, "rpn.channels": 16},
        "g-2": {"solver.momentum": 0.8, "rpn.channels": 32},
        "g-3": {"solver.momentum": 0.9, "rpn.channels": 16},
        "g-4": {"solver.momentum": 0.9, "rpn.channels": 32},
    }
    assert (sweep.choose, sweep.network, sweep.figure) == ("val", "step4", "mAP50")


def test_a_list_has_names_of_its_own(tmp_path: Path) -> None:
    sweep = read_sweep(written(tmp_path, "name: h\nexperiments: {small: {roi_head.hidden: 8}, as-it-is: {}}\n"))
    assert sweep.changes(ROOT) == {"h-small": {"roi_head.hidden": 8}, "h-as-it-is": {}}


def test_ablations_are_the_papers_and_equal_ones_are_tried_once(tmp_path: Path) -> None:
    changes = read_sweep(written(tmp_path, "name: paper\nablations: []\n")).changes(ROOT)
    assert changes["paper-base"] == {} and "paper-unshared" not in changes  # another network of the same run
    assert changes["paper-proposals-50"] == {"detect.proposals": 50}
    chosen = read_sweep(written(tmp_path, "name: paper\nablations: [proposals-50]\n")).changes(ROOT)
    assert list(chosen) == ["paper-base", "paper-proposals-50"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: a", "give one of grid, experiments and ablations"),
        ("name: a\ngrid: {a.b: [1]}\nablations: []", "give one of grid, experiments and ablations"),
        ("name: a\ngrid: {a.b: []}", "grid.a.b"),
        ("name: a\ngrid: {lr: [1]}", "grid.lr"),
        ("name: a/b\nablations: []", "name: "),
        ("name: a\nablations: []\nchose: val", "chose: "),
        ("name: a\nablations: []\nnetwork: step3", "network: "),
        ("name: [", "not valid YAML"),
        ("3", "valid dictionary"),
    ],
)
def test_a_wrong_file_is_one_line_that_says_where(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError) as problem:
        read_sweep(written(tmp_path, text))
    assert told in str(problem.value) and "\n" not in str(problem.value)


def test_no_file_and_an_unknown_ablation(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_sweep(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="no ablation 'x'"):
        read_sweep(written(tmp_path, "name: a\nablations: [x]")).changes(ROOT)


def test_texts_have_the_changes_and_keep_the_comments() -> None:
    texts = texts_of(DEFAULT_TEXT, {"a": {"solver.momentum": 0.5}, "b": {}})
    read = {name: yaml.safe_load(text) for name, text in texts.items()}
    before = yaml.safe_load(DEFAULT_TEXT)["solver"]["momentum"]
    assert [read[name]["solver"]["momentum"] for name in ("a", "b")] == [0.5, before]
    assert "# conv1 and conv2" in texts["a"]


def test_the_example_of_the_docs_can_be_run(tmp_path: Path) -> None:
    example = (ROOT / "docs/workers.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    changes = read_sweep(written(tmp_path, example)).changes(ROOT)
    assert len(texts_of(DEFAULT_TEXT, changes)) == 6


@pytest.mark.parametrize("change", [{"solver.momentum": 5}, {"solver.nothing": 1}, {"nothing.lr": 1}])
def test_a_wrong_parameter_names_its_experiment(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"^experiment a: "):
        texts_of(DEFAULT_TEXT, {"a": change})
