"""Compares the parameters that dvc.lock has for a network's stages with those of params.yaml now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.runtime.yaml_files import YamlError, read_yaml

_SHOWN = 3


def outdated(root: Path, stage: str) -> str | None:
    """Why a stage's output does not match the present project, as far as dvc.lock and params.yaml show.

    Code, and files that were edited by hand, are left to `frcnn status`, which takes seconds.

    Args:
        root: folder of params.yaml and dvc.lock. stage: one of its graph.

    Returns:
        Part of a sentence; None where nothing speaks against it, and where dvc.lock knows nothing of the stage.
    """
    try:
        stages, now = read_yaml(Path(root) / "dvc.lock")["stages"], read_yaml(Path(root) / "params.yaml")
        before = list(_with_all_before(stages, stage))
        changed = sorted({key for name in before for key in _changed(stages[name], now)})
        replaced = next((pair for name in before for pair in _replaced(stages, name)), None)
    except (OSError, YamlError, LookupError, TypeError, AttributeError):
        return None  # no record to compare with
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        return f"params.yaml has changed since ({', '.join(changed[:_SHOWN])}{more})"
    return f"{replaced[0]} has read an earlier output of {replaced[1]}" if replaced else None


def _with_all_before(stages: Mapping[str, Any], last: str) -> Iterator[str]:
    """A stage and all that it reads from, as dvc.lock has them."""
    makers = {out["path"]: name for name, entry in stages.items() for out in entry.get("outs") or ()}
    waiting, seen = [last], {last}
    while waiting:
        name = waiting.pop()
        yield name
        before = {makers[dep["path"]] for dep in stages[name].get("deps") or () if dep["path"] in makers} - seen
        seen |= before
        waiting += sorted(before)


def _changed(entry: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key, recorded in ((entry.get("params") or {}).get("params.yaml") or {}).items():
        value: Any = now
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        yield from _differing(key, recorded, value)


def _differing(key: str, recorded: Any, value: Any) -> Iterator[str]:
    """The keys at which two values differ, below a key."""
    if isinstance(recorded, Mapping) and isinstance(value, Mapping):
        for name in sorted(recorded.keys() | value.keys()):
            yield from _differing(f"{key}.{name}", recorded.get(name), value.get(name))
    elif recorded != value:
        yield key


def _replaced(stages: Mapping[str, Any], name: str) -> Iterator[tuple[str, str]]:
    """A stage, and each stage whose output has been rewritten since it was read."""
    outs = {out["path"]: (maker, out.get("md5")) for maker, entry in stages.items() for out in entry.get("outs") or ()}
    for dep in stages[name].get("deps") or ():
        maker, written = outs.get(dep["path"], (None, None))
        if maker is not None and written != dep.get("md5") and not dep["path"].startswith("data/code/"):
            yield name, maker
