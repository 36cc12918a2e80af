"""`frcnn doctor`: what this machine and this workspace give to a run, and how DVC's cache links what it keeps."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from dvc.repo import Repo
from dvc_objects.fs.generic import test_links as links_that_work

from pipeline.orchestrate.graph import opened
from pipeline.params.file import load_params
from pipeline.runtime.device import gpu_model, gpu_or_cpu
from pipeline.runtime.errors import InputError
from pipeline.runtime.locking import has_locks
from pipeline.runtime.processes import PROCESSES
from pipeline.runtime.version import current_version
from pipeline.views.inspect.text import size_text

LINKS = ("reflink", "hardlink", "symlink", "copy")
"""How DVC can leave in data/ what its cache keeps. Reflinks share their bytes until one side is written to."""

_LIBRARIES = ("torch", "torchvision", "dvc", "prefect", "numpy", "pyarrow")
_CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Finding:
    """A line of the report.

    Attributes:
        topic: what it is about. text: what was found. remedy: what to do, or nothing.
        is_fault: whether runs fail because of it.
    """

    topic: str
    text: str
    remedy: str = ""
    is_fault: bool = False


def examine(root: Path, log: Callable[[str], None]) -> bool:
    """Print what there is; whether runs can do with it.

    Raises:
        InputError: no DVC repository in `root`, or params.yaml cannot be read.
    """
    are_well = True
    for finding in _findings(root):
        log(f"{finding.topic:<10} {finding.text}")
        if finding.remedy:
            log(f"{'':<10} -> {finding.remedy}")
        are_well &= not finding.is_fault
    return are_well


def set_links(root: Path, kind: str) -> str:
    """Have DVC link what it keeps in this way, on this machine alone; what was done, and the next command.

    Args:
        kind: one of `LINKS`.

    Raises:
        InputError: no such kind, or the file systems of the cache and of the workspace do not have it.
    """
    if kind not in LINKS:
        raise InputError(f"--link {kind}: give one of {', '.join(LINKS)}")
    with opened(root) as repo:
        working = _working(repo)
        if kind not in working:
            raise InputError(
                f"--link {kind}: does not work from {repo.cache.local_cache_dir} to {root.resolve()}; "
                f"give one of {', '.join(working)}"
            )
        with repo.config.edit("local", validate=True) as local:
            local["cache"]["type"] = [kind]
    return f"cache.type is {kind} in .dvc/config.local; dvc checkout --relink applies it to what data/ has already"


def _findings(root: Path) -> Iterator[Finding]:
    params = load_params(root / "params.yaml")
    versions = ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    yield Finding("versions", f"frcnn {current_version()}, Python {platform.python_version()}, {versions}")
    yield _cores(len(os.sched_getaffinity(0)), params.base.threads)
    memory = psutil.virtual_memory()
    most = min(memory.total, _limit())
    yield Finding("memory", f"{size_text(most)}, {size_text(min(memory.available, most))} free")
    yield _gpu(params.base.precision)
    with opened(root) as repo:
        yield from _places(root, Path(repo.cache.local_cache_dir), _kind(repo), _working(repo))
    if has_locks(root / ".dvc"):
        yield Finding("locks", "the file system has locks (flock)")
    else:
        yield Finding(
            "locks", "the file system has no locks (flock): runs set core.hardlink_lock for DVC (docs/faults.md)"
        )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _cores(cores: int, threads: int) -> Finding:
    text = f"{cores} {'core' if cores == 1 else 'cores'}; base.threads is {threads}"
    if threads > cores:
        return Finding("processor", text, f"set base.threads to {cores}: more threads than cores wait for each other")
    if (processes := cores // threads) > 1:
        return Finding("processor", text, f"{PROCESSES}={processes} runs stages that go image by image on all of them")
    return Finding("processor", text)


def _limit() -> int:
    """Bytes that the container may use; a very large number where nothing limits them."""
    try:
        return int(_CGROUP.read_text())
    except (OSError, ValueError):  # no such file, or `max`
        return 1 << 62


def _gpu(precision: str) -> Finding:
    try:
        device = gpu_or_cpu()
    except InputError as error:
        return Finding("GPU", str(error), is_fault=True)
    if device.type == "cpu":
        return Finding("GPU", "none is used; stages compute on the CPU")
    remedy = "base.precision: tf32 or bf16 is several times as fast (docs/gpu.md)" if precision == "float32" else ""
    return Finding("GPU", f"{gpu_model()}; base.precision is {precision}", remedy)


def _working(repo: Repo) -> list[str]:
    """Those of `LINKS` that work from the cache to the workspace, the best first."""
    cache = repo.cache.local
    existed = os.path.isdir(cache.path)
    try:
        found = links_that_work(list(LINKS[:-1]), cache.fs, cache.path, repo.fs, repo.root_dir)
    finally:
        if not existed and os.path.isdir(cache.path) and not os.listdir(cache.path):
            os.rmdir(cache.path)
    return [*found, "copy"]


def _kind(repo: Repo) -> Sequence[str]:
    """What DVC is set to try, in order."""
    kinds: Sequence[str] = repo.cache.local.cache_types
    return kinds


def _places(root: Path, cache: Path, wanted: Sequence[str], working: Sequence[str]) -> Iterator[Finding]:
    """The disk, and how DVC links what its cache keeps to data/."""
    free = size_text(shutil.disk_usage(root).free)
    yield Finding("disk", f"{free} free here; frcnn check-data says what the stages will store")
    place = next(path for path in (cache, *cache.parents) if path.exists())
    other = place.stat().st_dev != root.stat().st_dev
    there = f"{cache}, {size_text(shutil.disk_usage(place).free)} free there" if other else str(cache)
    kind = next((name for name in wanted if name in working), None)
    if kind is None:
        names = ", ".join(wanted)
        yield Finding("cache", f"{there}: {names} does not work here", f"frcnn doctor --link {working[0]}", True)
    elif kind == "copy":
        better = next((name for name in working if name != "copy"), None)
        remedy = f"frcnn doctor --link {better}: data/ then has read-only links" if better else ""
        yield Finding("cache", f"{there}: copies, so each artifact takes its space twice", remedy)
    else:
        note = "" if kind == "reflink" else "; files in data/ are read-only"
        yield Finding("cache", f"{there}: {kind}s{note}")
