"""The graph of stages with their times, whether they are up to date, and what they left on disk."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from markupsafe import Markup

from pipeline.report.family_report import family_report
from pipeline.report.graph_drawing import StageBox, draw_graph
from pipeline.report.page import Drawing, PageSection, Table
from pipeline.report.run import Run
from pipeline.views.colours import GREY, Look, network_looks, step_colours

_LEAD = (
    "A stage is one step of the training: it reads files, writes files, and runs again only when something that it "
    "depends on has changed. Data flows from left to right."
)


def stages_section(run: Run) -> PageSection:
    """The drawing, and a table with one row per stage."""
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
    steps = {name: node.meta.step for name, node in run.graph.nodes.items()}
    heads, networks = step_colours(run.family, steps), network_looks(run.family)
    return draw_graph({name: _box(run, name, heads, networks) for name in run.graph.nodes}, heads)


def _box(run: Run, name: str, heads: Mapping[str, str], networks: Mapping[str, Look]) -> StageBox:
    node, time, state = run.graph.nodes[name], run.times.get(name), _state(run, name)
    note = f"{_seconds(time.seconds)} s, {state}" if time else state
    # A stage that detects or judges has the colour of its network.
    own = next((look.colour for network, look in networks.items() if name.endswith(f"_{network}")), GREY)
    details = [f"{name}: {node.title}", note]
    details += [f"peak memory {time.peak_mb:,.0f} MB"] if time else []
    details += [f"{_bytes(run, name) / 1e6:,.1f} MB on disk"] if run.has(name) else []
    look = "fresh" if state == "up to date" else "changed"
    return StageBox(node.meta.step, node.upstream, note, look, heads.get(node.meta.step, own), "\n".join(details))
