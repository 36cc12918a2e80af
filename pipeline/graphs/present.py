"""The present dvc.yaml of a project, generated or not: its family, and the code that its commands run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.graphs.command import StageCommand
from pipeline.graphs.command_family import check_command_family
from pipeline.graphs.stamp import stamp_of
from pipeline.runtime.code_locks.lock import CodeLock
from pipeline.runtime.errors import InputError
from pipeline.runtime.own_code import CODE_STAGE, extras_of, stage_locks
from pipeline.runtime.yaml_files import YamlError, parse_yaml, read_yaml

DVC_YAML = "dvc.yaml"

TORN = "it is torn or in conflict: solve graphs/*.yaml, delete it and run frcnn graph"
"""What to do where dvc.yaml is not YAML, as after a merge."""


@dataclass(frozen=True)
class PresentGraph:
    """The stages of a dvc.yaml by name, as it declares them; `family` is None where no stamp names one."""

    family: str | None
    stages: Mapping[str, Mapping[str, Any]]

    def code(self) -> list[tuple[str, str]]:
        """The modules of stages/ that its commands run, each with the family whose part of it runs, or an empty text.
        What runs no module of stages/ is passed over."""
        return sorted({(command.module, command.family) for _, command in self.commands()})

    def commands(self) -> Iterator[tuple[str, StageCommand]]:
        """Each stage that runs a module of stages/, but stage `code`, and its command."""
        for name, stage in self.stages.items():
            try:
                command = StageCommand.parse(str(stage.get("cmd", "")))
            except InputError:
                continue
            if name != CODE_STAGE:
                yield name, command

    def reads(self) -> Iterator[tuple[str, str]]:
        """Each stage and each section of params.yaml that it reads."""
        for name, stage in self.stages.items():
            yield from ((name, item) for item in _list(stage, "params") if isinstance(item, str))

    def paths(self, name: str, key: str) -> list[str]:
        """The `deps` or `outs` of a stage, without what is set of them."""
        return [item if isinstance(item, str) else str(next(iter(item), "")) for item in _list(self.stages[name], key)]


def present_graph(root: Path) -> PresentGraph:
    """The graph of the project in `root`.

    Raises:
        InputError: dvc.yaml is missing or not YAML, or declares stages in another form.
    """
    path = Path(root) / DVC_YAML
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; frcnn graph writes it") from None
    except UnicodeDecodeError as error:
        raise YamlError(f"{path}: not valid YAML (byte {error.start + 1} is not UTF-8); {TORN}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return graph_in(text, path)
    except YamlError as error:
        raise YamlError(f"{error}; {TORN}") from None


def graph_in(text: str, source: Path | str = DVC_YAML) -> PresentGraph:
    """The graph in the text of a dvc.yaml.

    Args:
        source: what an error calls it.

    Raises:
        InputError: it is not YAML, or declares stages in another form.
    """
    content = parse_yaml(text, source)
    stages = (content.get("stages") or {}) if isinstance(content, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
        raise InputError(f"{source}: names no stages with a command each; delete it and run frcnn graph")
    stamp = stamp_of(text)
    return PresentGraph(stamp[0] if stamp else None, stages)


def check_graph(root: Path) -> None:
    """See that a project has a graph to run, and params.yaml, where there is one, of the graph's family.

    Raises:
        InputError: as `present_graph` and `check_same_family`, or the graph has no stages.
    """
    params = Path(root) / "params.yaml"
    if params.exists():
        read_yaml(params)  # DVC would not name the line of an error in it
    if not present_graph(root).stages:
        raise InputError(f"{Path(root) / DVC_YAML}: no stages; delete it and run frcnn graph")
    check_same_family(root)


def graph_locks(root: Path, memo: Path | None = None) -> dict[str, CodeLock]:
    """The locks of the code that the graph's commands run, by name, from the sources of the project as they are now.

    Args:
        memo: see `pipeline.runtime.code_locks.tree.SourceTree`.

    Raises:
        InputError: as `present_graph`. CodeError: as `stage_locks`.
    """
    return stage_locks(present_graph(root).code(), memo, Path(root), extras_in(Path(root) / "params.yaml"))


def extras_in(params_file: Path) -> tuple[str, ...]:
    """The optional libraries that a params.yaml asks for; none where it cannot be read."""
    try:
        return extras_of(read_yaml(params_file))
    except (InputError, OSError):
        return ()


def check_same_family(root: Path) -> None:
    """Check that a project's dvc.yaml, its commands and params.yaml belong to one family.

    Raises:
        InputError: they are of several, as where `frcnn preset` was killed, there is no such family, or a stage reads a
            section that is not there.
    """
    try:
        graph, params = present_graph(root), read_yaml(Path(root) / "params.yaml")
    except (InputError, FileNotFoundError):
        return  # the reader of the wrong one reports it
    if isinstance(params, dict):
        check_params_of_graph(root, graph, params)


def check_params_of_graph(root: Path, graph: PresentGraph, params: Mapping[str, Any]) -> None:
    """`check_same_family` for contents that have been read already."""
    from pipeline.params.file import family_in

    path, family = Path(root) / DVC_YAML, family_in(params, Path(root) / "params.yaml").name
    if graph.family is not None and graph.family != family:
        raise InputError(
            f"{path} is the graph of family {graph.family} and params.yaml is of family {family}; run frcnn preset, "
            "which writes both"
        )
    for name, command in graph.commands():
        check_command_family(root, path, name, command, family)
    for stage, section in graph.reads():
        if section not in params:
            raise InputError(
                f"{path}: stage {stage} reads section {section}, which params.yaml of family {family} does not "
                "have; run frcnn preset, which writes both"
            )


def _list(stage: Mapping[str, Any], key: str) -> list[Any]:
    value = stage.get(key)
    return value if isinstance(value, list) else []
