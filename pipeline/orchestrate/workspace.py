"""Allows one run per workspace, and cleans the workspace up after an interrupted run."""

from __future__ import annotations

import configparser
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from pipeline.datasets.root_check import check_tree
from pipeline.orchestrate.dvc_leftovers import clear_busy_paths, is_dvc, mend_lock_file, mend_run_cache
from pipeline.runtime.data_folder import check_data_folder
from pipeline.runtime.errors import InputError
from pipeline.runtime.locking import has_locks, try_lock

WORKSPACE_VARIABLE = "FRCNN_WORKSPACE"
_SECONDS_FOR_THE_DYING = 20.0


@contextmanager
def hold_workspace(root: Path) -> Iterator[int]:
    """Keep other runs out of `root`, and clean up after a killed one: processes, locks of DVC, a torn dvc.lock.

    Yields a file descriptor; the workspace stays held until every process that inherited it has closed it.

    Raises:
        InputError: another run, or a dvc command, is at work there.
    """
    root = Path(root).resolve()
    descriptor = _lock(root)
    try:
        _end_leftovers(root)
        if not has_locks(root / ".dvc" / "tmp"):
            _have_dvc_lock_by_links(root)
        clear_busy_paths(root)
        mend_run_cache(root)
        if mended := mend_lock_file(root):
            print(mended, file=sys.stderr, flush=True)
        yield descriptor
    finally:
        os.close(descriptor)


def check_data_places(root: Path) -> None:
    """Refuse what DVC would reject late or never: a data/ outside the project, a data root that it cannot hash.

    Raises:
        InputError: what it is, and the remedy.
    """
    check_data_folder(root / "data", root)
    check_tree(root / "data/raw")


def refuse_if_held(root: Path) -> None:
    """Raise InputError if another living run holds the workspace."""
    os.close(_lock(Path(root).resolve()))


def refuse_under_a_run(root: Path) -> None:
    """Raise InputError if another living run holds the workspace, whose graph or parameters are about to be changed.

    A folder without DVC's has no run.
    """
    if (Path(root) / ".dvc").is_dir():
        refuse_if_held(root)


def environment_in(root: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment in which DVC runs for `root`.

    Stages are started as `python -m ...`: they must find the interpreter that runs this, and this workspace. Whoever
    holds the workspace next knows the processes by it.
    """
    return {
        **inherited,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(root), inherited.get("PYTHONPATH")))),
        "DVC_NO_ANALYTICS": "1",
        "HF_HUB_OFFLINE": "1",
        WORKSPACE_VARIABLE: str(root),
    }


def _lock(root: Path) -> int:
    path = root / ".dvc" / "tmp" / "frcnn-flow.lock"
    if not path.parent.parent.is_dir():
        raise InputError(f"{root}: no DVC repository here; run it in the project's folder")
    path.parent.mkdir(exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    deadline = time.monotonic() + _SECONDS_FOR_THE_DYING
    while (lock := try_lock(descriptor)) is None:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        # The guards of a flow that was killed hold its lock until their stages are gone.
        if _alive(holder) or time.monotonic() > deadline:
            os.close(descriptor)
            raise InputError(f"another run (process {holder}) is at work in this workspace; wait for it, or stop it")
        time.sleep(0.1)
    path.write_text(f"{os.getpid()}\n")
    return lock


def _have_dvc_lock_by_links(root: Path) -> None:
    """Have DVC use hard links as locks if the file system has none, since it would wait forever otherwise.

    A killed dvc leaves such a lock for good, so that it is removed where no dvc of this machine is at work in `root`.
    """
    local = root / ".dvc" / "config.local"
    config = configparser.ConfigParser(interpolation=None)
    config.read([root / ".dvc" / "config", local], encoding="utf-8")
    if not config.getboolean("core", "hardlink_lock", fallback=False):
        own = configparser.ConfigParser(interpolation=None)
        own.read(local, encoding="utf-8")
        if not own.has_section("core"):
            own.add_section("core")
        own.set("core", "hardlink_lock", "true")
        with local.open("w", encoding="utf-8") as file:
            own.write(file)
        reason = "its file system has no file locks (flock), so DVC locks by hard links from now on"
        print(f"{local}: {reason} (core.hardlink_lock)", file=sys.stderr, flush=True)
    _refuse_dvc_at_work(root)
    for left in ("lock", "rwlock.lock"):
        (root / ".dvc" / "tmp" / left).unlink(missing_ok=True)


def _refuse_dvc_at_work(root: Path) -> None:
    """Raise InputError if a dvc runs in `root` on this machine."""
    family = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid not in family and is_dvc(process) and Path(process.cwd()).is_relative_to(root):
                raise InputError(f"dvc (process {process.pid}) is at work in this workspace; wait for it, or stop it")


def _alive(pid: str) -> bool:
    try:
        return pid.isdigit() and psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end_leftovers(root: Path) -> None:
    """Kill what still runs for an earlier run of this workspace, which is dead, since we hold its lock."""
    family = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    deadline = time.monotonic() + _SECONDS_FOR_THE_DYING
    # One that starts another while the list is read: the next list has it.
    while time.monotonic() < deadline:
        left = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.pid not in family and process.environ().get(WORKSPACE_VARIABLE) == str(root):
                    process.kill()
                    left.append(process)
        if not left:
            return
        psutil.wait_procs(left, timeout=10)
