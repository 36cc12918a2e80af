"""`frcnn results`: figures that do not exist, and networks that have hardly learnt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.views.results import results_table

FIGURES = {"mAP50": 0.6, "mAP50_11point": 0.6, "AP": 0.3, "AP75": 0.3, "AR100": 0.5}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text("family: faster_rcnn_joint\n")
    return tmp_path / "data"


def judged(data: Path, network: str, **figures: float | None) -> None:
    (data / f"evaluate_{network}").mkdir(parents=True)
    (data / f"evaluate_{network}/metrics.json").write_text(json.dumps(FIGURES | figures))


def test_a_figure_that_does_not_exist_is_a_dash(data: Path) -> None:
    judged(data, "end_to_end", AP75=None, AR100=-1.0)
    row = results_table(data).splitlines()[1]
    assert row.split()[-5:] == ["0.600", "0.600", "0.300", "-", "-"]


def test_figures_of_nothing_are_dashes_and_no_reproach(data: Path) -> None:
    judged(data, "end_to_end", **dict.fromkeys(FIGURES))
    table = results_table(data)
    assert table.splitlines()[1].split()[-5:] == ["-"] * 5
    assert "learnt" not in table


def test_a_network_that_has_hardly_learnt_is_named_with_the_remedy(data: Path) -> None:
    judged(data, "initial", mAP50=0.7)
    judged(data, "end_to_end", mAP50=0.0499)
    (line,) = (line for line in results_table(data).splitlines() if "learnt" in line)
    assert line.startswith("hardly learnt (mAP@.5 below 0.05): end to end; train for more iterations, or ")
    assert "backbone.weights" in line


def test_nothing_is_said_of_networks_that_have_learnt(data: Path) -> None:
    judged(data, "end_to_end", mAP50=0.05)
    assert "learnt" not in results_table(data)
