"""Checks that a dvc.lock is complete, since `frcnn gc` removes what it does not name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.orchestrate.dvc_leftovers import torn_locks
from pipeline.orchestrate.lock_text import is_whole_lock, names_in, refuse_conflict
from pipeline.runtime.errors import InputError
from pipeline.runtime.own_code import CODE_STAGE
from pipeline.runtime.run_times import read_runs, run_place
from pipeline.runtime.yaml_files import parse_yaml, read_yaml

_REMEDY = "restore it from git or from a saved copy"


def check_lock(root: Path) -> None:
    """Refuse a dvc.lock that lacks what git, a killed dvc or a person has taken from it, as far as that can be known.

    A text that ends between two stages looks whole, so that it is compared with the outputs in data/, by the graphs of
    all families, with the notes of when each stage last ran, and with a torn file that was kept.

    Raises:
        InputError: what is missing, and the remedy.
    """
    root = Path(root)
    path = root / "dvc.lock"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, so that every result would be removed; {_REMEDY}") from None
    declared = _declared(root)
    entries = lock_entries(text, path, bool(declared))
    for torn in torn_locks(root):
        alone = [name for name in names_in(torn.read_text(encoding="utf-8", errors="replace")) if name not in entries]
        what = f"{', '.join(alone)}, which dvc.lock does not name" if alone else "maybe more than dvc.lock does"
        raise InputError(
            f"{torn}: the dvc.lock that a killed dvc tore names {what}, so that results would be removed; put what is "
            "to be kept back into dvc.lock, from git or from a saved copy, then remove this file"
        )
    for name, outs in declared.items():
        known = {out["path"] for out in entries[name]["outs"]} if name in entries else set()
        if left := [out for out in outs if out not in known and (root / out).exists()]:
            raise InputError(
                f"{path}: does not name {left[0]}, which stage {name} has written, so its end may be cut off and "
                f"results would be removed; {_REMEDY}; only where a run was stopped before DVC noted that stage, "
                "finish the run first"
            )
    if lost := [name for name in read_runs(root) if name not in entries and name != CODE_STAGE]:
        raise InputError(
            f"{path}: has no entry of stage {lost[0]}, which has run here, so its end may be cut off and results "
            f"would be removed; {_REMEDY}, or where its results may go, remove {run_place(root, lost[0])}"
        )


def lock_entries(text: str, where: Path | str, has_stages: bool) -> Mapping[str, Any]:
    """The stages of the text of a dvc.lock.

    Args:
        has_stages: whether dvc.yaml has stages.

    Raises:
        InputError: it is torn, or has no stages where dvc.yaml has some.
    """
    refuse_conflict(text, where)
    stages: Mapping[str, Any] = parse_yaml(text, where)["stages"] if is_whole_lock(text) else {}
    if not stages and (has_stages or not is_whole_lock(text)):
        raise InputError(f"{where}: torn or edited, so that results which it named would be removed; {_REMEDY}")
    return stages


def _declared(root: Path) -> dict[str, list[str]]:
    """The outputs that the graphs of all families name, by stage, without `code`, which every graph has its own of."""
    stages: dict[str, Any] = {}
    for path in (*sorted((root / "graphs").glob("*.yaml")), root / "dvc.yaml"):
        with suppress(OSError, InputError, KeyError, TypeError, AttributeError, ValueError):
            stages.update(read_yaml(path)["stages"])
    stages.pop(CODE_STAGE, None)
    return {name: list(_outs_of(stage)) for name, stage in stages.items() if isinstance(stage, dict)}


def _outs_of(stage: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("outs", "metrics", "plots"):
        for out in stage.get(kind) or ():
            yield from out if isinstance(out, dict) else [str(out)]
