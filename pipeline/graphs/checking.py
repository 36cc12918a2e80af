"""Checks that a graph's DVC entries match the stages' commands, and that it has the stages that its family names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from pipeline.families.family import Family
from pipeline.graphs.command import StageCommand
from pipeline.graphs.present import PresentGraph
from pipeline.runtime.errors import InputError
from pipeline.runtime.own_code import CODE_STAGE


def check_graph(graph: PresentGraph, family: Family, file_of: Callable[[str], Path]) -> None:
    """Check the graph of a family as a whole.

    Args:
        file_of: where a stage is declared, for messages; of one that is missing, where it should be.

    Raises:
        InputError: the first stage that is missing, that names a section which its family has not, or whose params,
            deps or outs are not those of its cmd.
    """
    from pipeline.params.file import sections_of

    check_has_stages(graph.stages, family, file_of)
    sections = sections_of(family)
    for name in graph.stages:
        if name != CODE_STAGE:
            _check_stage(graph, name, sections, f"{file_of(name)}: stage {name}")


def check_has_stages(stages: Collection[str], family: Family, file_of: Callable[[str], Path]) -> None:
    """Whether a graph has the stages that its family names.

    Raises:
        InputError: the first that it has not.
    """
    wanted = {name: "training" for name in family.training}
    for name, network in family.networks.items():
        wanted |= {stage: f"part {part!r} of network {name!r}" for part, stage in network.parts.items()}
        wanted |= {f"{verb}_{name}": f"network {name!r}" for verb in ("detect", "evaluate")}
    for stage, why in wanted.items():
        if stage not in stages:
            own = (name for name in stages if name != CODE_STAGE)
            raise InputError(
                f"{file_of(stage)}: has no stage {stage}, which pipeline/families/{family.name}/family.py asks for "
                f"({why}); there are {', '.join(own)}"
            )


def _check_stage(graph: PresentGraph, name: str, sections: Collection[str], where: str) -> None:
    command = StageCommand.parse(str(graph.stages[name].get("cmd", "")))
    if command.stage != name:
        raise InputError(f"{where}: its cmd writes {command.out}; write --out data/{name}")
    params = [section for stage, section in graph.reads() if stage == name]
    for section in (*command.params, *params):
        if section not in sections:
            raise InputError(f"{where}: no section {section}; there are {', '.join(sections)}")
    _check_same(where, "params", params, "--params", command.params)
    read = {path.as_posix() for path in command.options.values()}
    if command.code is not None:
        read.add(command.code.as_posix())
    _check_same(where, "deps", graph.paths(name, "deps"), "cmd", read)
    written = [Path(path) for key in ("outs", "metrics", "plots") for path in graph.paths(name, key)]
    for path in written:
        if not path.is_relative_to(command.out):
            raise InputError(f"{where}: its outs have {path}, and its cmd writes {command.out}; write one in both")
    if not written:
        raise InputError(f"{where}: has no outs; write {command.out} there")


def _check_same(where: str, key: str, listed: Iterable[str], place: str, given: Iterable[str]) -> None:
    """Whether DVC's entry and the command agree."""
    for one, other, has, lacks in ((given, listed, place, key), (listed, given, key, place)):
        if more := sorted(set(one) - set(other)):
            raise InputError(f"{where}: {has} has {more[0]}, and {lacks} has it not; write it in both")
