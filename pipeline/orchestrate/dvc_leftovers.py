"""Cleans up what a killed dvc leaves in a workspace and would fail on.

DVC writes dvc.lock and its table of busy paths in place, so that a kill can cut them off, and it fails for ever where a
folder of its run-cache is empty. Call these under the workspace's lock.
"""

from __future__ import annotations

import configparser
import itertools
import json
import math
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from pipeline.artifacts.atomic import atomic_file, write_text
from pipeline.orchestrate.lock_text import is_whole_lock, names_in, refuse_conflict, split_at_stages
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text
from pipeline.runtime.yaml_files import read_yaml

_SHA256 = re.compile("[0-9a-f]{64}")
_SECONDS_OF_A_WRITE = 60.0
TORN = "dvc.lock.torn"
"""Where the text of a torn dvc.lock is kept; of a second one, `TORN` and a number."""


def clear_busy_paths(root: Path) -> None:
    """Remove DVC's table of busy paths, which outlives its processes.

    DVC does so itself, but takes a process that was given a dead one's id for it, as happens in containers, and ends
    where the table is torn.

    Raises:
        InputError: a dvc command in it is at work.
    """
    path = Path(root) / ".dvc" / "tmp" / "rwlock"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        infos = [info for readers in table.get("read", {}).values() for info in readers]
        infos += table.get("write", {}).values()
        busy = sorted({int(info["pid"]) for info in infos if _is_dvc(int(info["pid"]))})
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError, AttributeError):
        busy = []
    if busy:
        raise InputError(f"dvc (process {busy[0]}) is at work in this workspace; wait for it, or stop it")
    path.unlink(missing_ok=True)


def mend_lock_file(root: Path) -> str:
    """Cut a torn dvc.lock back to its whole stages; DVC's run-cache brings those of dvc.yaml back without running them.

    The torn text is kept beside it, see `TORN`: it may be all that names results of other families.

    Returns:
        what was done, for a person; empty where the file is whole or absent.

    Raises:
        InputError: git has left a merge of it to a person.
    """
    root = Path(root)
    path = root / "dvc.lock"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ""
    text = content.decode(errors="replace")
    refuse_conflict(text, path)
    without_outs = [name for name, stage in _declared(root).items() if not {"outs", "metrics", "plots"} & {*stage}]
    if is_whole_lock(text, without_outs):
        return ""
    parts = split_at_stages(text)
    while len(parts) > 1 and not is_whole_lock("".join(parts), without_outs):
        parts.pop()
    copy = _copy_place(root)
    with atomic_file(copy) as place:
        place.write_bytes(content)
    kept = len(parts) - 1
    if kept:
        write_text(path, "".join(parts))
    else:
        path.unlink()
    lost = [name for name in names_in(text)[kept:] if name not in _declared(root)]
    told = (
        f"dvc.lock was torn by a killed dvc; {count_text(kept, 'stage')} of it are kept, DVC's run-cache has the others"
    )
    alone = f"; it alone names {', '.join(lost)}, which dvc.yaml does not have" if lost else ""
    return f"{told}; {copy.name} is the torn file{alone}"


def torn_locks(root: Path) -> list[Path]:
    """The torn files that `mend_lock_file` has kept, sorted."""
    return sorted(Path(root).glob(f"{TORN}*"))


def _copy_place(root: Path) -> Path:
    places = (root / (TORN + (f".{number}" if number else "")) for number in itertools.count())
    return next(place for place in places if not place.exists())


def _declared(root: Path) -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml; empty if it cannot be read."""
    with suppress(OSError, InputError, KeyError, TypeError, AttributeError):
        stages = read_yaml(root / "dvc.yaml")["stages"]
        return {name: stage for name, stage in stages.items() if isinstance(stage, dict)}
    return {}


def mend_run_cache(root: Path) -> None:
    """Remove what a killed dvc had begun to write into its run-cache: temporary files, and folders left empty.

    In a cache outside of the workspace another dvc may just be writing, so that only what is old goes.
    """
    cache = cache_of(root)
    before = math.inf if cache.is_relative_to(root) else time.time() - _SECONDS_OF_A_WRITE
    for folder in (cache / "runs").glob("*/*"):
        with suppress(OSError):
            for file in folder.iterdir():
                if not _SHA256.fullmatch(file.name) and file.stat().st_mtime < before:
                    file.unlink()
            if folder.stat().st_mtime < before:
                folder.rmdir()  # fails where it is not empty


def cache_of(root: Path) -> Path:
    """The folder of a project's cache, as its own configuration has it."""
    for name in ("config.local", "config"):
        config = configparser.ConfigParser(interpolation=None)
        with suppress(configparser.Error):
            config.read(root / ".dvc" / name, encoding="utf-8")
        if place := config.get("cache", "dir", fallback=""):
            return (root / ".dvc" / place).resolve()
    return root / ".dvc" / "cache"


def _is_dvc(pid: int) -> bool:
    try:
        return is_dvc(psutil.Process(pid))
    except psutil.Error:
        return False


def is_dvc(process: psutil.Process) -> bool:
    """Whether a process is a dvc command."""
    return any("dvc" in Path(word).name for word in process.cmdline()[:4])
