"""dvc.yaml written anew from the graph files, but never over what was edited in it by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.atomic import write_text
from pipeline.graphs.composing import COMMON, composed, graph_path
from pipeline.graphs.present import DVC_YAML
from pipeline.graphs.stamp import stamp_of, without_stamp
from pipeline.runtime.errors import InputError


@dataclass(frozen=True)
class GraphToWrite:
    """The text of dvc.yaml for a family, and whether the file there has another."""

    family: str
    text: str
    is_new: bool


def graph_to_write(root: Path, family: str) -> GraphToWrite:
    """What is to be written; nothing is yet.

    Raises:
        InputError: a graph file is wrong, or the dvc.yaml that is there was edited by hand.
    """
    text, path = composed(root, family), Path(root) / DVC_YAML
    try:
        present = path.read_bytes().decode()
    except FileNotFoundError:
        return GraphToWrite(family, text, True)
    except UnicodeDecodeError:
        present = ""
    if present != text and not _is_made(root, present):
        stamp = stamp_of(present)
        own, common = (graph_path(Path(), name) for name in (stamp[0] if stamp else family, COMMON))
        raise InputError(
            f"{path}: edited by hand, so it is not overwritten; move the change to {own} or {common} (git diff shows "
            "it), delete the file and run this again"
        )
    return GraphToWrite(family, text, present != text)


def write_graph(root: Path, graph: GraphToWrite) -> str:
    """Write it; a line on what was done."""
    if graph.is_new:
        write_text(Path(root) / DVC_YAML, graph.text)
    return f"{DVC_YAML}: the graph of {graph.family}" + ("" if graph.is_new else ", as it was")


def _is_made(root: Path, text: str) -> bool:
    """Whether a text is as it was made from graph files, or as it would be made from those that are there now."""
    stamp = stamp_of(text)
    if stamp is None:
        return False
    family, as_written = stamp
    if as_written:
        return True
    try:  # its digest alone is out of date, as where git has merged two edits of the graph files
        return without_stamp(text) == without_stamp(composed(root, family))
    except InputError:
        return False
