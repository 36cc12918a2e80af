"""Checks that the text of a dvc.lock is complete, which it is not after a killed dvc or an unfinished merge."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import YamlError, parse_yaml

_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
_PARTS = frozenset(("cmd", "deps", "params", "outs"))
_STAGE = re.compile(r"^(?=  [^\s#])", re.MULTILINE)
_NAME = re.compile(r"  ([^\s:#]+):\n")
_CONFLICT = re.compile(r"^(<{7}|>{7})( |$)", re.MULTILINE)


def is_whole_lock(text: str, without_outs: Collection[str] = ()) -> bool:
    """Whether a text is a dvc.lock that ends where DVC ends one, with all that DVC writes of its last stage.

    A text that is cut off between two outputs of its last stage, or between two stages, looks whole.

    Args:
        without_outs: stages that declare no outputs.
    """
    try:
        lock = parse_yaml(text, "dvc.lock")
        stages = lock["stages"]
        *_, last = stages or [""]
        whole = lock["schema"] == "2.0" and all(stage["cmd"] for stage in stages.values())
        return whole and text.endswith("\n") and (not last or _is_stage(stages[last], last in without_outs))
    except (YamlError, KeyError, TypeError, AttributeError):
        return False


def split_at_stages(text: str) -> list[str]:
    """What comes before the first stage, then the text of each; joined they are `text`."""
    return _STAGE.split(text)


def names_in(text: str) -> list[str]:
    """The stages of a text that may be torn, as far as their names can be read."""
    return [match[1] for part in split_at_stages(text)[1:] if (match := _NAME.match(part))]


def refuse_conflict(text: str, where: object) -> None:
    """Raise InputError if git has left conflict markers in `where`."""
    if mark := _CONFLICT.search(text):
        line = text.count("\n", 0, mark.start()) + 1
        raise InputError(
            f"{where}: line {line} is a conflict marker of git; solve the merge first, with all stages kept"
        )


def _is_stage(stage: dict[str, Any], without_outs: bool) -> bool:
    outs = [] if without_outs else stage["outs"]
    files, params = [*stage.get("deps", []), *outs], stage.get("params", {})
    return (
        stage.keys() <= _PARTS
        and bool(stage["cmd"])
        and isinstance(stage["cmd"], str | list)
        and (without_outs or bool(outs))
        and all(_is_file(file) for file in files)
        and all(isinstance(values, dict) for values in params.values())
    )


def _is_file(file: dict[str, Any]) -> bool:
    digest, sizes = file["md5"], [file["size"], file["nfiles"] if str(file["md5"]).endswith(".dir") else 0]
    return (
        isinstance(file["path"], str)
        and None not in file.values()
        and bool(_MD5.fullmatch(digest))
        and all(isinstance(size, int) for size in sizes)
    )
