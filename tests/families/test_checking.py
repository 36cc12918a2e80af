"""A family that is declared wrongly, and a graph that has not what its family names, are told in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from pipeline.families.family import Network
from pipeline.families.registry import family_of
from pipeline.graphs.writing import graph_to_write
from pipeline.runtime.errors import InputError
from tests.families.points_project import visible, write_project

FILE = "pipeline/families/points/family.py"


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (lambda own: None, "has no FAMILY; see docs/families.md"),
        (lambda own: "points", "FAMILY is a str; write FAMILY = Family(...)"),
        (lambda own: type(own), "FAMILY is a Family; write"),
        (lambda own: replace(own, name="pionts"), "name is 'pionts', and the folder is points; give both one name"),
        (lambda own: replace(own, judged="pionts"), "judged is 'pionts', which is none of its networks (points)"),
        (lambda own: replace(own, networks={}), "judged is 'points', which is none of its networks ()"),
        (lambda own: replace(own, networks={"points": "Points"}), "networks: points is a str; write Network(...)"),
        (lambda own: replace(own, sections={"points": 3}), "sections: points is 3; give the class of its model"),
    ],
)
def test_a_family_that_is_declared_wrongly(declared: Callable[[Any], Any], said: str) -> None:
    with visible():
        own = family_of("points")
        with (
            patch("pipeline.families.points.family.FAMILY", declared(own)),
            pytest.raises(InputError, match=r"^[^\n]+$") as error,
        ):
            family_of("points")
    assert str(error.value).startswith(f"{FILE}: {said}")


NETWORK = Network("points", "", {"trunk": "train_points"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"training": {"train_point": "x"}}, "has no stage train_point, which {FILE} asks for (training)"),
        ({"networks": {"pts": NETWORK}, "judged": "pts"}, "has no stage detect_pts, which {FILE} asks for (network 'p"),
        (
            {"networks": {"points": replace(NETWORK, parts={"head": "train_pts"})}},
            "has no stage train_pts, which {FILE} asks for (part 'head' of network 'points'); there are dataset, ",
        ),
    ],
)
def test_a_stage_that_the_family_names_and_its_graph_has_not(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with visible():
        root = write_project(tmp_path / "project", {})
        with (
            patch("pipeline.families.points.family.FAMILY", replace(family_of("points"), **change)),
            pytest.raises(InputError, match=r"^[^\n]+$") as error,
        ):
            graph_to_write(root, "points")
    assert f"graphs/points.yaml: {said.replace('{FILE}', FILE)}" in str(error.value)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("points", "points,augment,solver", "pionts,augment,solver", "stage train_points: no section pionts"),
        ("points", "params: [evaluate]", "params: [evaluat]", "stage evaluate_points: no section evaluat; there are "),
        ("points", "[base, backbone, points, augment]", "[base, points, augment]", "--params has backbone, and params"),
        ("points", "params: [evaluate]", "params: [evaluate, base]", "params has base, and --params has it not; "),
        ("points", "      - data/resize\n      - data/points_targets\n", "      - data/resize\n", "cmd has data/po"),
        ("points", "    deps:\n", "    deps:\n      - data/raw\n", "deps has data/raw, and cmd has it not; write"),
        ("points", "--out data/train_points", "--out data/train", "stage train_points: its cmd writes data/train; "),
        ("points", "      - data/points_targets\n    meta", "      - data/points\n    meta", "its outs have data/"),
        ("points", "    outs:\n      - data/train_points\n", "", "stage train_points: has no outs; write data/train"),
        ("common", "--params base,resize", "--params base,resise", "common.yaml: stage resize: no section resise; "),
    ],
)  # fmt: skip
def test_a_stage_that_tells_dvc_other_than_its_command(
    tmp_path: Path, file: str, old: str, new: str, said: str
) -> None:
    with visible():
        root = write_project(tmp_path / "project", {})
        graph_to_write(root, "points")
        path = root / f"graphs/{file}.yaml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))
        with pytest.raises(InputError, match=rf"^[^\n]+graphs/{file}\.yaml: [^\n]+$") as error:
            graph_to_write(root, "points")
    assert said in str(error.value)
