"""Regenerates dvc.yaml from the graph files, but never overwrites manual edits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.atomic import write_text
from pipeline.families.registry import family_of, present_family
from pipeline.graphs.checking import check_graph
from pipeline.graphs.composing import COMMON, composed, graph_path
from pipeline.graphs.present import DVC_YAML, TORN, graph_in
from pipeline.graphs.stamp import stamp_of, without_stamp
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import YamlError, parse_yaml, read_yaml


@dataclass(frozen=True)
class GraphToWrite:
    """The text of dvc.yaml for a family, and whether the file there has another."""

    family: str
    text: str
    is_new: bool


def graph_to_write(root: Path, family: str) -> GraphToWrite:
    """What would be written; writes nothing yet.

    Raises:
        InputError: a graph file is wrong, or the dvc.yaml that is there is torn, in conflict or was edited by hand.
    """
    text, path = composed(root, family), Path(root) / DVC_YAML
    common = read_yaml(graph_path(root, COMMON))["stages"]
    check_graph(
        graph_in(text), family_of(family), lambda stage: graph_path(root, COMMON if stage in common else family)
    )
    try:
        present = path.read_bytes().decode()
    except FileNotFoundError:
        return GraphToWrite(family, text, True)
    except UnicodeDecodeError:
        present = ""
    if present != text and not _is_made(root, present):
        stamp = stamp_of(present)
        if _is_torn(root, present):
            raise InputError(f"{path}: not overwritten, as {TORN}")
        own = graph_path(Path(), stamp[0] if stamp else _family_of_params(root) or family)
        raise InputError(
            f"{path}: edited by hand, so it is not overwritten; move the change to {own} or "
            f"{graph_path(Path(), COMMON)} (git diff shows it), delete the file and run this again"
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


def _is_torn(root: Path, text: str) -> bool:
    """Whether a text is the remains of a merge or of a full disk: not YAML, or without its end."""
    try:
        content = parse_yaml(text, DVC_YAML)
    except YamlError:
        return True
    if not isinstance(content, dict) or "<<<<<<<" in text:
        return True
    stamp = stamp_of(text)
    try:
        return stamp is not None and without_stamp(composed(root, stamp[0])).startswith(without_stamp(text))
    except InputError:
        return False


def _family_of_params(root: Path) -> str | None:
    try:
        return present_family(root).name
    except InputError:
        return None


def graph_to_make(root: Path) -> str | None:
    """A line where dvc.yaml was made of graph files that have been edited since; None where it was not, or where it
    was edited itself or they are wrong, which other commands report."""
    path = Path(root) / DVC_YAML
    try:
        present = path.read_bytes().decode()
        stamp = stamp_of(present)
        if stamp is None or not stamp[1] or composed(root, stamp[0]) == present.replace("\r\n", "\n"):
            return None
    except (OSError, UnicodeDecodeError, InputError):
        return None
    own, common = (graph_path(Path(), name) for name in (stamp[0], COMMON))
    return f"{DVC_YAML} is not what {common} and {own} now make; run frcnn graph to take their edits over"
