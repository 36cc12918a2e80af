"""What a killed dvc leaves in a workspace and would stumble over.

DVC writes dvc.lock and its table of busy paths in place, so that a kill can cut them off, and it fails for ever where a
folder of its run-cache is empty. Call these under the workspace's lock.
"""

from __future__ import annotations

import configparser
import json
import math
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from pipeline.artifacts.atomic import write_text
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import YamlError, parse_yaml

_MD5, _NO_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?"), "0" * 32
_SHA256 = re.compile("[0-9a-f]{64}")
_SECONDS_OF_A_WRITE = 60.0
_STAGE = re.compile(r"^(?=  [^\s#])", re.MULTILINE)


def clear_busy_paths(root: Path) -> None:
    """Drop DVC's table of busy paths, which outlives the processes in it.

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
    """Cut a torn dvc.lock back to its whole stages; DVC's run-cache brings the others back without running them.

    Returns:
        what was done, for a person; empty where the file is whole or absent.
    """
    path = Path(root) / "dvc.lock"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    if is_whole_lock(text):
        return ""
    parts = _STAGE.split(text)
    while len(parts) > 1 and not is_whole_lock("".join(parts)):
        parts.pop()
    kept = len(parts) - 1
    if kept:
        write_text(path, "".join(parts))
    else:
        path.unlink()
    return f"dvc.lock was torn by a killed dvc; {kept} stages of it are kept, DVC's run-cache has the others"


def mend_run_cache(root: Path) -> None:
    """Remove what a killed dvc had begun to write into its run-cache: temporary files, and folders left empty.

    In a cache outside of the workspace another dvc may just be writing, so that only what is old goes.
    """
    cache = _cache(root)
    before = math.inf if cache.is_relative_to(root) else time.time() - _SECONDS_OF_A_WRITE
    for folder in (cache / "runs").glob("*/*"):
        with suppress(OSError):
            for file in folder.iterdir():
                if not _SHA256.fullmatch(file.name) and file.stat().st_mtime < before:
                    file.unlink()
            if folder.stat().st_mtime < before:
                folder.rmdir()  # fails where it is not empty


def _cache(root: Path) -> Path:
    for name in ("config.local", "config"):
        config = configparser.ConfigParser(interpolation=None)
        with suppress(configparser.Error):
            config.read(root / ".dvc" / name, encoding="utf-8")
        if place := config.get("cache", "dir", fallback=""):
            return (root / ".dvc" / place).resolve()
    return root / ".dvc" / "cache"


def is_whole_lock(text: str) -> bool:
    """Whether a text is a dvc.lock with all that DVC reads of each stage."""
    try:
        lock = parse_yaml(text, "dvc.lock")
        return lock["schema"] == "2.0" and all(_is_stage(stage) for stage in lock["stages"].values())
    except (YamlError, KeyError, TypeError, AttributeError):
        return False


def _is_stage(stage: dict[str, Any]) -> bool:
    files = [*stage.get("deps", []), *stage.get("outs", [])]
    return (
        isinstance(stage["cmd"], str | list)
        and all(_is_file(file) for file in files)
        and all(isinstance(values, dict) for values in stage.get("params", {}).values())
    )


def _is_file(file: dict[str, Any]) -> bool:
    return (
        isinstance(file["path"], str) and None not in file.values() and bool(_MD5.fullmatch(file.get("md5", _NO_MD5)))
    )


def _is_dvc(pid: int) -> bool:
    try:
        return is_dvc(psutil.Process(pid))
    except psutil.Error:
        return False


def is_dvc(process: psutil.Process) -> bool:
    """Whether a process is a dvc command."""
    return any("dvc" in Path(word).name for word in process.cmdline()[:4])
