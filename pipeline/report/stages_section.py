"""The graph of stages with their times, whether they are up to date, and what they left on disk."""

from __future__ import annotations

from datetime import datetime
from html import escape

import networkx
from markupsafe import Markup

from pipeline.report.family_report import family_report
from pipeline.report.page import Drawing, PageSection, Table
from pipeline.report.run import Run

_LEAD = (
    "A stage is one step of the training: it reads files, writes files, and runs again only when something that it "
    "depends on has changed. Data flows from left to right."
)
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _TOP = 142, 42, 26, 14, 26


def stages_section(run: Run) -> PageSection:
    """The drawing, and a table with a row a stage."""
    rows = [_row(run, name) for name in run.graph.nodes]
    total = sum(run.times[name].seconds for name in run.graph.nodes if name in run.times)
    on_disk = sum(_bytes(run, name) for name in run.graph.nodes)
    rows.append(["", "all", "", "", _seconds(total), "", f"{on_disk / 1e6:,.1f}"])
    header = ["stage", "what it does", "last run", "seconds", "peak memory, MB", "on disk, MB"]
    return PageSection(
        "stages",
        "The graph",
        family_report(run).lead("stages", _LEAD),
        [Drawing(_drawing(run)), Table(["state", *header], rows, "llllrrr")],
    )


def _row(run: Run, name: str) -> list[object]:
    node, time = run.graph.nodes[name], run.times.get(name)
    when = datetime.fromtimestamp(time.started).strftime("%Y-%m-%d %H:%M:%S") if time else "not in this folder"
    return [
        _state(run, name),
        name,
        node.title,
        when,
        _seconds(time.seconds) if time else "",
        f"{time.peak_mb:,.0f}" if time else "",
        f"{_bytes(run, name) / 1e6:,.1f}",
    ]


def _state(run: Run, name: str) -> str:
    if not run.has(name):
        return "not made yet"
    return "changed" if name in run.graph.changed else "up to date"


def _bytes(run: Run, name: str) -> int:
    folder = run.folder(name)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def _seconds(value: float) -> str:
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def _drawing(run: Run) -> Markup:
    """Stages in a column for each step of the training, edges that others do not imply already."""
    columns: dict[str, list[str]] = {}
    for name, node in run.graph.nodes.items():
        column = columns.setdefault(node.meta.step or "other", [])
        # Right below what it reads, where that stands in the same column.
        column.insert(max((column.index(up) + 1 for up in node.upstream if up in column), default=len(column)), name)
    tallest = max(len(names) for names in columns.values())
    places = {}
    for index, names in enumerate(columns.values()):
        free = (tallest - len(names)) * (_HEIGHT + _GAP_Y) / 2
        for row, name in enumerate(names):
            places[name] = (index * (_WIDTH + _GAP_X) + 2.0, _TOP + free + row * (_HEIGHT + _GAP_Y))
    needs = networkx.DiGraph((up, name) for name, node in run.graph.nodes.items() for up in node.upstream)
    width = len(columns) * (_WIDTH + _GAP_X) - _GAP_X + 4
    height = _TOP + tallest * (_HEIGHT + _GAP_Y)
    parts = [f'<svg class="graph" role="img" aria-label="The graph of stages" width="{width}" height="{height}">']
    for index, title in enumerate(columns):
        parts.append(f'<text class="head" x="{index * (_WIDTH + _GAP_X) + 4}" y="14">{escape(title)}</text>')
    parts += [_edge(places[a], places[b]) for a, b in networkx.transitive_reduction(needs).edges]
    for name, (x, y) in places.items():
        state, time = _state(run, name), run.times.get(name)
        look = {"up to date": "fresh", "changed": "changed"}.get(state, "changed")
        note = f"{_seconds(time.seconds)} s, {state}" if time else state
        title = f"<title>{escape(name)}: {escape(run.graph.nodes[name].title)}</title>"
        parts.append(
            f'<g>{title}<rect class="node {look}" x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="7"/>'
            f'<text x="{x + 8}" y="{y + 18}">{escape(name)}</text>'
            f'<text class="soft" x="{x + 8}" y="{y + 34}">{escape(note)}</text></g>'
        )
    return Markup("".join([*parts, "</svg>"]))


def _edge(start: tuple[float, float], end: tuple[float, float]) -> str:
    """From the right side of one stage to the left of another; within a column from bottom to top."""
    if start[0] == end[0]:
        x = start[0] + _WIDTH / 2
        if end[1] - start[1] < 1.5 * (_HEIGHT + _GAP_Y):
            return f'<path class="edge" d="M{x} {start[1] + _HEIGHT} L{x} {end[1]}"/>'
        side = start[0] + _WIDTH
        y1, y2 = start[1] + _HEIGHT / 2, end[1] + _HEIGHT / 2
        return f'<path class="edge" d="M{side} {y1} C{side + 18} {y1} {side + 18} {y2} {side} {y2}"/>'
    x1, y1, x2, y2 = start[0] + _WIDTH, start[1] + _HEIGHT / 2, end[0], end[1] + _HEIGHT / 2
    bend = max(14, (x2 - x1) / 2)
    return f'<path class="edge" d="M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"/>'
