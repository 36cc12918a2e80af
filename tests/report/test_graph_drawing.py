"""The drawing of the graph: no line behind a box, whatever the graph."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from defusedxml import ElementTree

from pipeline.report.graph_drawing import StageBox, draw_graph
from tests.views.conftest import STAGES

Line = list[tuple[float, float]]


def box(step: str, upstream: list[str]) -> StageBox:
    return StageBox(step, upstream, "1.0 s, up to date", "fresh", "#123456", "a <stage>")


def of_this_project() -> dict[str, StageBox]:
    writers = {str(out): name for name, stage in STAGES.items() for own in stage["outs"] for out in as_paths(own)}
    found = {}
    for name, stage in STAGES.items():
        reads = [writers[dep] for dep in stage["deps"] if dep in writers and writers[dep] != name]
        found[name] = box(stage["meta"]["step"], list(dict.fromkeys(reads)))
    return found


def as_paths(out: str | dict) -> list[str]:
    return [out] if isinstance(out, str) else list(out)


def made_up(seed: int) -> dict[str, StageBox]:
    """Stages of some steps, each reading any that come before, of later steps too."""
    rng = np.random.default_rng(seed)
    names = [f"stage_{place}" for place in range(rng.integers(1, 30))]
    return {
        name: box(
            f"step {rng.integers(5)}",
            [names[own] for own in rng.choice(place, min(place, int(rng.integers(4))), replace=False)],
        )
        for place, name in enumerate(names)
    }


def parsed(drawing: str) -> tuple[list[tuple[float, ...]], list[Line]]:
    """x1, y1, x2, y2 of the boxes, and the corners of the lines."""
    svg = ElementTree.fromstring(drawing)
    places = [tuple(float(own.get(key)) for key in ("x", "y", "width", "height")) for own in svg.iter("rect")]
    lines = []
    for path in svg.iter("path"):
        if path.get("class") == "edge":
            numbers = [float(own) for own in re.findall(r"-?[\d.]+", path.get("d", ""))]
            lines.append(list(zip(numbers[::2], numbers[1::2], strict=True)))
    return [(x, y, x + wide, y + high) for x, y, wide, high in places], lines


def ends(drawing: str) -> list[tuple[str, str]]:
    """The stages at the ends of the lines."""
    svg = ElementTree.fromstring(drawing)
    return [
        (path.get("data-from", ""), path.get("data-to", "")) for path in svg.iter("path") if path.get("class") == "edge"
    ]


def shared(one: Line, other: Line) -> float:
    """How far two lines lie on one another while flat, px."""
    return sum(
        max(0.0, min(max(a[0], b[0]), max(c[0], d[0])) - max(min(a[0], b[0]), min(c[0], d[0])))
        for a, b in pairwise(one)
        for c, d in pairwise(other)
        if a[1] == b[1] == c[1] == d[1]
    )


@pytest.mark.parametrize("seed", [None, *range(30)])
def test_no_line_runs_behind_a_box(seed: int | None) -> None:
    stages = of_this_project() if seed is None else made_up(seed)
    boxes, lines = parsed(draw_graph(stages, {"step 1": "#2A8BD0"}))
    assert len(boxes) == len(stages)
    if seed is None:
        assert len(lines) >= len(stages) - 2
    for (x1, y1), (x2, y2) in (pair for line in lines for pair in pairwise(line)):
        for left, top, right, bottom in boxes:
            across = min(x1, x2) < right - 0.5 and max(x1, x2) > left + 0.5
            assert not (across and min(y1, y2) < bottom - 0.5 and max(y1, y2) > top + 0.5)


def test_no_line_that_leaves_a_box_lies_on_one_that_enters_the_next_box() -> None:
    """In the graph of FCOS, resize -> detect would read as train -> detect."""
    stages = {
        "resize": box("data", []),
        "targets": box("training", ["resize"]),
        "train": box("training", ["targets"]),
        "detect": box("evaluation", ["train"]),
        "detect_initial": box("evaluation", ["resize"]),
    }
    for own in (stages, of_this_project()):
        drawing = draw_graph(own, {})
        lines = list(zip(ends(drawing), parsed(drawing)[1], strict=True))
        for (start, end), line in lines:
            for (other_start, other_end), other in lines:
                if start != other_start and end != other_end:
                    assert shared(line, other) < 1, f"{start} -> {end}, {other_start} -> {other_end}"
