"""The graph of stages as SVG: a column for each step of the training, and edges that run between the boxes, never
behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import networkx
from markupsafe import Markup

_HEIGHT, _GAP_X, _GAP_Y, _TOP = 44, 40, 24, 44
_LEAST_WIDTH, _LETTER, _PAD = 120, 7.0, 24
_ROUND = 6
_ASIDE = 9
_SHIFTS = (0.0, 5.0, -5.0, 8.5, -8.5)  # of lines that share a gap

Point = tuple[float, float]


@dataclass(frozen=True)
class StageBox:
    """A stage in the drawing.

    Attributes:
        step: whose column it stands in. upstream: stages that it reads from.
        note: the line under its name. look: `fresh` or `changed`. colour: of the band at its side.
        details: what the pointer shows.
    """

    step: str
    upstream: Sequence[str]
    note: str
    look: str
    colour: str
    details: str


@dataclass(frozen=True)
class _Grid:
    """The place of each stage: its column and its row."""

    places: Mapping[str, tuple[int, int]]
    width: float  # of a box

    @property
    def rows(self) -> int:
        return 1 + max(row for _, row in self.places.values())

    def left(self, column: int) -> float:
        return column * (self.width + _GAP_X) + 2.0

    def middle(self, row: int) -> float:
        return _TOP + row * (_HEIGHT + _GAP_Y) + _HEIGHT / 2

    def gap(self, above: int) -> float:
        """The middle of the gap above a row."""
        return self.middle(above) - (_HEIGHT + _GAP_Y) / 2

    def free_heights(self, columns: Iterable[int]) -> list[float]:
        """Where a line may cross the columns: in the gaps between rows, and in rows that none of them has."""
        crossed = set(columns)
        taken = {row for column, row in self.places.values() if column in crossed}
        gaps = [self.gap(row) for row in range(self.rows + 1)]
        return gaps + [self.middle(row) for row in range(self.rows) if row not in taken]


def draw_graph(stages: Mapping[str, StageBox], heads: Mapping[str, str]) -> Markup:
    """The drawing.

    Args:
        stages: by name, every stage after those it reads from.
        heads: the colour of each step's title; grey where a step has none.
    """
    grid, steps = _arranged(stages)
    width, height = grid.left(len(steps)) - _GAP_X + 2, grid.gap(grid.rows) + _GAP_Y / 2
    needs = networkx.DiGraph((up, name) for name, box in stages.items() for up in box.upstream)
    edges = sorted(networkx.transitive_reduction(needs).edges, key=lambda edge: (grid.places[edge[0]], edge[1]))
    parts = [
        f'<svg class="graph" role="img" aria-label="The graph of stages" viewBox="0 0 {width:g} {height:g}" '
        f'style="min-width:{0.8 * width:.0f}px;max-width:{1.35 * width:.0f}px"><defs><marker id="tip" '
        'viewBox="0 0 6 6" refX="5.5" refY="3" markerUnits="userSpaceOnUse" markerWidth="8" markerHeight="8" '
        'orient="auto"><path class="arrow" d="M0 0L6 3L0 6Z"/></marker></defs>'
    ]
    for column, step in enumerate(steps):
        x = grid.left(column)
        mark = f'<circle cx="{x + 6:g}" cy="11" r="5" fill="{heads[step]}"/>' if step in heads else ""
        parts.append(f'{mark}<text class="head" x="{x + (16 if mark else 2):g}" y="15">{escape(step)}</text>')
    for (start, end), points in _routes(grid, edges).items():
        parts.append(
            f'<path class="edge" data-from="{escape(start)}" data-to="{escape(end)}" marker-end="url(#tip)" '
            f'd="{_rounded(points)}"/>'
        )
    parts += [_box(grid, name, box) for name, box in stages.items()]
    return Markup("".join([*parts, "</svg>"]))


def _arranged(stages: Mapping[str, StageBox]) -> tuple[_Grid, list[str]]:
    columns: dict[str, list[str]] = {}
    for name, box in stages.items():
        column = columns.setdefault(box.step or "other", [])
        # Right below what it reads, where that stands in the same column.
        column.insert(max((column.index(up) + 1 for up in box.upstream if up in column), default=len(column)), name)
    tallest = max(len(names) for names in columns.values())
    places = {
        name: (column, (tallest - len(names)) // 2 + row)
        for column, names in enumerate(columns.values())
        for row, name in enumerate(names)
    }
    widest = max(len(text) for name, box in stages.items() for text in (name, box.note))
    return _Grid(places, max(_LEAST_WIDTH, _LETTER * widest + _PAD)), list(columns)


def _box(grid: _Grid, name: str, box: StageBox) -> str:
    column, row = grid.places[name]
    x, y = grid.left(column), grid.middle(row) - _HEIGHT / 2
    return (
        f'<g class="node" data-name="{escape(name)}" data-tip="{escape(box.details)}">'
        f'<rect class="{box.look}" x="{x:g}" y="{y:g}" width="{grid.width:g}" height="{_HEIGHT}" rx="7"/>'
        f'<path d="M{x + 7:g} {y + 8:g}V{y + _HEIGHT - 8:g}" stroke="{box.colour}" stroke-width="4" '
        'stroke-linecap="round"/>'
        f'<text x="{x + 16:g}" y="{y + 19:g}">{escape(name)}</text>'
        f'<text class="soft" x="{x + 16:g}" y="{y + 35:g}">{escape(box.note)}</text></g>'
    )


def _routes(grid: _Grid, edges: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[Point]]:
    """Lines of right angles, which are upright only between columns, and lie flat only where no box stands."""
    edges = list(edges)
    # Upright lines of one stage lie on one another, those of several side by side.
    lanes = _lanes(grid, edges)

    def lane(channel: int, start: str) -> float:
        own = lanes[channel]
        return grid.left(channel) + grid.width + _GAP_X * (own.index(start) + 1) / (len(own) + 1)

    used: Counter[float] = Counter()
    found = {}
    for start, end in edges:
        (first, row), (last, other) = grid.places[start], grid.places[end]
        right, left = grid.left(first) + grid.width, grid.left(last)
        y, to, channels = grid.middle(row), grid.middle(other), _channels(grid, start, end)
        if not channels:
            x = grid.left(first) + grid.width / 2
            points = [(x, y + _HEIGHT / 2), (x, to - _HEIGHT / 2)] if first == last else [(right, y), (left, to)]
        elif first == last:
            x = lane(first, start)
            # Above the line that leaves the box, with which it would be one.
            points = [(right, y), (x, y), (x, to - _ASIDE), (right, to - _ASIDE)]
        elif len(channels) == 1:
            x = lane(first, start)
            points = [(right, y), (x, y), (x, to), (left, to)]
        else:
            out, into = lane(channels[0], start), lane(channels[1], start)
            crossed = range(first + 1, last) if first < last else range(last, first + 1)
            free = grid.free_heights(crossed)
            height = min(free, key=lambda own: (abs(own - y) + abs(own - to) + 4 * used[own], own))
            across = height + _SHIFTS[used[height] % len(_SHIFTS)]
            used[height] += 1
            points = [(right, y), (out, y), (out, across), (into, across), (into, to), (left, to)]
        found[start, end] = points
    return found


def _lanes(grid: _Grid, edges: Sequence[tuple[str, str]]) -> dict[int, list[str]]:
    """By channel, the stages whose lines are upright there, from left to right.

    Where one line leaves a box and another enters the box across the channel, the one that leaves is the first to turn:
    else the two would lie on one another and read as a line between these boxes.
    """
    lanes: dict[int, networkx.DiGraph] = {}
    for start, end in edges:
        for channel in _channels(grid, start, end):
            lanes.setdefault(channel, networkx.DiGraph()).add_node(start)
    for channel, lane in lanes.items():
        leaving = {row: name for name in lane for column, row in [grid.places[name]] if column == channel}
        for start, end in edges:
            column, row = grid.places[end]
            if column == channel + 1 and start in lane and channel in _channels(grid, start, end) and row in leaving:
                lane.add_edge(leaving[row], start)
        lane.remove_edges_from(list(networkx.selfloop_edges(lane)))
    return {channel: _in_order(lane) for channel, lane in lanes.items()}


def _in_order(lane: networkx.DiGraph) -> list[str]:
    """The stages of a channel, each after those that must come before it, unless these wait for each other."""
    order: list[str] = []
    left = list(lane)
    while left:
        free = (name for name in left if not any(before in left for before in lane.predecessors(name)))
        order.append(next(free, left[0]))
        left.remove(order[-1])
    return order


def _channels(grid: _Grid, start: str, end: str) -> tuple[int, ...]:
    """The columns after which an edge runs upright."""
    (first, row), (last, other) = grid.places[start], grid.places[end]
    if first == last:
        return () if other == row + 1 else (first,)
    if last == first + 1:
        return () if other == row else (first,)
    return (first, last - 1)


def _rounded(points: Sequence[Point]) -> str:
    """The line through the points with rounded corners."""
    path = [points[0]]
    path += [point for point in points[1:] if point != path[-1]]
    parts = [f"M{path[0][0]:g} {path[0][1]:g}"]
    for before, corner, after in zip(path, path[1:], path[2:], strict=False):
        size = min(_ROUND, _distance(before, corner) / 2, _distance(corner, after) / 2)
        enter, leave = _towards(corner, before, size), _towards(corner, after, size)
        parts.append(f"L{enter[0]:g} {enter[1]:g}Q{corner[0]:g} {corner[1]:g} {leave[0]:g} {leave[1]:g}")
    return "".join([*parts, f"L{path[-1][0]:g} {path[-1][1]:g}"])


def _distance(one: Point, other: Point) -> float:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _towards(start: Point, end: Point, size: float) -> Point:
    share = size / (_distance(start, end) or 1)
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share
