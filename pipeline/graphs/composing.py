"""The text of dvc.yaml, composed of graphs/common.yaml and a family's graph file, with their comments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.graphs.command import StageCommand
from pipeline.graphs.command_family import check_command_family
from pipeline.graphs.declared_text import declared_text
from pipeline.graphs.stamp import stamped
from pipeline.runtime.errors import InputError
from pipeline.runtime.own_code import CODE_STAGE, lock_path
from pipeline.runtime.yaml_blocks import split_key, yaml_blocks
from pipeline.runtime.yaml_files import YamlError, parse_yaml

_PURPOSE = "a family's graph is declared"

GRAPHS = Path("graphs")
"""The folder of the graph files, in a project."""

COMMON = "common"
_TO_FILL_IN = "    outs: []"
_NOT_RUN = {"desc", "meta"}  # keys of a stage that say nothing of what it computes


def graph_path(root: Path, name: str) -> Path:
    """The graph file of a family, or of what all have (`COMMON`)."""
    return Path(root) / GRAPHS / f"{name}.yaml"


def composed(root: Path, family: str) -> str:
    """The text of dvc.yaml for a family.

    The common stages come first. Stage `code` gets as outputs the locks of the code that the commands run.

    Raises:
        InputError: a graph file is missing or not YAML, declares no stages, or a stage that the common one has too, or
            another family's of the same name that runs otherwise, or one that writes what another family's does, whose
            command is of another form or names another family, or that does not depend on the lock of its code.
    """
    common, own = graph_path(root, COMMON), graph_path(root, family)
    texts = {file: declared_text(file, _PURPOSE) for file in (common, own)}
    contents = {file: _content(text, file) for file, text in texts.items()}
    _check_own_names(root, own, contents[own]["stages"])
    shared = sorted(contents[common]["stages"].keys() & contents[own]["stages"].keys())
    if shared:
        raise InputError(f"{own}: stage {shared[0]} is one of {common} too; give it another name")
    locks = sorted(
        {lock for file, content in contents.items() for lock in _locks(root, content["stages"], file, family)}
    )
    texts[common] = _filled_in(texts[common], locks, common)
    text = _together(texts[common], texts[own])
    contents[common]["stages"][CODE_STAGE]["outs"] = locks
    try:
        as_meant = parse_yaml(text, own) == _merged(contents[common], contents[own], own)
    except YamlError:
        as_meant = False
    if not as_meant:
        raise InputError(
            f"{own}: cannot be put together with {common}; write top-level keys and stages as blocks, indented as there"
        )
    return stamped(family, text)


def _content(text: str, file: Path) -> dict[str, Any]:
    content = parse_yaml(text, file)
    stages = content.get("stages") if isinstance(content, dict) else None
    if not isinstance(stages, dict) or not stages:
        raise InputError(f"{file}: declares no stages; write them under `stages:`, each with its cmd")
    return content


def _check_own_names(root: Path, own: Path, stages: Mapping[str, Any]) -> None:
    """Whether a family's stages and outputs are its own: dvc.lock and data/ keep those of all families side by side.

    Two families may share a stage that runs in one way: what one of them has run is then up to date for the other.
    Graph files of other families that are wrong are passed over.
    """
    outs = {out: stage for stage, declared in stages.items() for out in _outs(declared)}
    for other in sorted(own.parent.glob("*.yaml")):
        if other.stem in (COMMON, own.stem):
            continue
        try:
            theirs = _content(declared_text(other, _PURPOSE), other)["stages"]
        except (InputError, OSError):
            continue
        for stage in sorted(stages.keys() & theirs.keys()):
            if key := _difference(stages[stage], theirs[stage]):
                raise InputError(
                    f"{own}: stage {stage} is one of {other} too, with another {key}; give it another name, or the "
                    f"same {key} to share it"
                )
        for stage, declared in theirs.items():
            for out in sorted(_outs(declared) & outs.keys()):
                if outs[out] != stage:
                    raise InputError(
                        f"{own}: stage {outs[out]} writes {out}, as stage {stage} of {other} does; write elsewhere"
                    )


def _difference(one: Any, other: Any) -> str | None:
    """The first key in which two stages run otherwise; None where DVC takes a run of one for a run of the other."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return "form"
    keys = sorted({*one, *other} - _NOT_RUN, key=lambda key: (key != "cmd", key))
    return next((key for key in keys if _in_no_order(one.get(key)) != _in_no_order(other.get(key))), None)


def _in_no_order(value: Any) -> Any:
    """A list as DVC compares it."""
    return sorted(map(str, value)) if isinstance(value, list) else value


def _outs(stage: Any) -> set[str]:
    listed = stage.get("outs") if isinstance(stage, dict) else None
    items = listed if isinstance(listed, list) else []
    paths = (next(iter(item), "") if isinstance(item, dict) else item for item in items)
    return {PurePosixPath(str(path)).as_posix() for path in paths}


def _locks(root: Path, stages: Mapping[str, Any], file: Path, family: str) -> list[str]:
    """The locks of the code that stages run, which each must depend on."""
    locks = []
    for name, stage in stages.items():
        if name == CODE_STAGE:
            continue
        cmd = stage.get("cmd") if isinstance(stage, dict) else None
        if not isinstance(cmd, str):
            raise InputError(f"{file}: stage {name} has no cmd, one line of text; write python -m stages.NAME ...")
        try:
            command = StageCommand.parse(cmd)
        except InputError as error:
            raise InputError(f"{file}: stage {name}: {error}".replace("write it in dvc.yaml as", "write")) from None
        check_command_family(root, file, name, command, family)
        lock = lock_path(command.module, command.family)
        if command.code != Path(lock) or lock not in (stage.get("deps") or ()):
            raise InputError(
                f"{file}: stage {name} would not run again where its code changes; write --code {lock} in its cmd and "
                f"{lock} among its deps"
            )
        locks.append(lock)
    return locks


def _filled_in(text: str, locks: list[str], file: Path) -> str:
    """The text of the common graph with the outputs of stage `code`."""
    lines = text.splitlines(keepends=True)
    places = [number for number, line in enumerate(lines) if line.split("#")[0].rstrip() == _TO_FILL_IN]
    if len(places) != 1:
        raise InputError(f"{file}: stage {CODE_STAGE} must have the line `outs: []`, which is filled in, and no other")
    lines[places[0]] = "    outs:\n" + "".join(f"      - {lock}\n" for lock in locks)
    return "".join(lines)


def _together(common: str, own: str) -> str:
    first, second = yaml_blocks(common), yaml_blocks(own)
    parts = ["#\n".join(filter(None, (second.header, first.header)))]
    for key in dict.fromkeys((*first.blocks, *second.blocks)):
        one, other = first.blocks.get(key), second.blocks.get(key)
        if one is None or other is None:
            parts.append(one or other or "")
            continue
        above, line, below = split_key(other)
        beside = line.partition("#")[2].strip()
        comments = [f"  {comment}" for comment in above.splitlines()] + ([f"  # {beside}"] if beside else [])
        between = "\n" if key == "stages" else ""
        parts.append(one + between + "".join(f"{comment}\n" for comment in comments) + below)
    return "\n".join(filter(None, parts))


def _merged(common: dict[str, Any], own: dict[str, Any], file: Path) -> dict[str, Any]:
    merged = dict(common)
    for key, value in own.items():
        if key not in common:
            merged[key] = value
        elif isinstance(value, dict) and isinstance(common[key], dict):
            merged[key] = {**common[key], **value}
        elif isinstance(value, list) and isinstance(common[key], list):
            merged[key] = [*common[key], *value]
        else:
            raise InputError(f"{file}: {key} is of another kind than in the common graph; write it as there")
    return merged
