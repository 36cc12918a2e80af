"""`frcnn doctor`: what this machine and this workspace give to a run, and how DVC's cache links what it keeps."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from dvc.repo import Repo
from dvc_objects.fs.generic import test_links as links_that_work

from pipeline.orchestrate.graph import nodes_of, opened
from pipeline.orchestrate.precision import slow_precision
from pipeline.params.base import Base
from pipeline.params.file import load_params
from pipeline.runtime.device import gpu_model, gpu_or_cpu, has_gpu
from pipeline.runtime.errors import InputError, StartedOtherwise
from pipeline.runtime.locking import has_locks
from pipeline.runtime.variables import (
    PROCESSES,
    process_count,
    unknown_variables,
    variables_that_are_set,
    wrong_variables,
)
from pipeline.runtime.version import current_version
from pipeline.views.inspect.text import size_text

LINKS = ("reflink", "hardlink", "symlink", "copy")
"""How DVC can leave in data/ what its cache keeps. Reflinks share their bytes until one side is written to."""

_LIBRARIES = ("torch", "torchvision", "dvc", "prefect", "numpy", "pyarrow")
_MEMORY_MAX, _CPU_MAX = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/cpu.max")


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
    """Print the report.

    Returns:
        Whether runs can work here.
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
    """What each topic has found; where one cannot be looked into, that is its finding."""
    base: list[Base] = []
    asked: list[int] = []

    def parameters() -> Iterator[Finding]:
        params = load_params(root / "params.yaml")
        base.append(params.base)
        yield Finding("parameters", f"params.yaml is of the family {params.family}")

    def variables() -> Iterator[Finding]:
        wrong = [line.partition("=")[0] for line in wrong_variables()]
        found = [f"{name}={text}" for name, text in variables_that_are_set().items() if name not in wrong]
        if found or not wrong:
            yield Finding("variables", f"{', '.join(found) or 'none is set'} (docs/variables.md)")
        for line in wrong_variables():
            yield Finding("variables", line, is_fault=True)
        for line in unknown_variables():
            yield Finding("variables", line)
        with suppress(StartedOtherwise):  # a finding above has it
            asked.append(process_count())

    topics: dict[str, Callable[[], Iterator[Finding]]] = {
        "versions": _versions,
        "parameters": parameters,
        "variables": variables,
        "processor": lambda: _cores(cores_in_use(), _load(), base[0] if base else None, asked[0] if asked else 1),
        "memory": _memory,
        "GPU": _gpu,
        "precision": lambda: _precision(root, base[0]) if base else iter(()),
        "disk": lambda: _disk(root),
        "graph": lambda: _graph(root),
        "cache": lambda: _cache(root),
        "locks": lambda: _locks(root),
    }
    for topic, look in topics.items():
        try:
            yield from look()
        except InputError as error:
            yield Finding(topic, str(error), is_fault=True)
        except OSError as error:
            text = f"{error.filename}: {error.strerror}; check that it can be read and written"
            yield Finding(topic, text, is_fault=True)


def cores_in_use() -> int:
    """Cores that this process may use: those it may run on, and no more than its container's share of time is worth."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = _CPU_MAX.read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or `max`
        return cores


def _versions() -> Iterator[Finding]:
    versions = ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    yield Finding("versions", f"frcnn {current_version()}, Python {platform.python_version()}, {versions}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _load() -> float:
    """How many processes of the machine were at work or waiting for a core, mean of the last minute."""
    return os.getloadavg()[0]


def _cores(cores: int, load: float, base: Base | None, asked: int) -> Iterator[Finding]:
    text = f"{cores} {'core' if cores == 1 else 'cores'}"
    is_busy = load > (os.cpu_count() or cores)  # the load is of the whole machine
    if is_busy:
        text += f", and a load of {load:.1f} from other processes"
    if base is None:
        yield Finding("processor", text)
        return
    text, remedy = f"{text}; base.threads is {base.threads}", ""
    processes = max(1, cores // base.threads)
    if is_busy and base.threads > 1:
        remedy = (
            "wait until the others have ended, or set base.threads to 1, which reruns all stages: threads of one stage "
            "wait for each other while others have the cores"
        )
    elif is_busy:
        remedy = "stages will be slow until the others have ended"
    elif base.threads > cores:
        remedy = f"set base.threads to {cores}: more threads than cores wait for each other"
    elif asked > processes and not has_gpu():
        remedy = f"set {PROCESSES} to {processes}: their threads wait for each other, and each takes memory"
    elif processes > asked and not has_gpu():  # processes share a GPU, and its memory
        remedy = f"{PROCESSES}={processes} runs stages that go image by image on all of them"
    if is_busy and asked > processes and not has_gpu():
        remedy += f"; set {PROCESSES} to {processes}, as their threads wait for each other"
    yield Finding("processor", text, remedy)


def _memory() -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    most = min(memory.total, _limit())
    yield Finding("memory", f"{size_text(most)}, {size_text(min(memory.available, most))} free")


def _limit() -> int:
    """Bytes that the container may use; a very large number where nothing limits them."""
    try:
        return int(_MEMORY_MAX.read_text())
    except (OSError, ValueError):  # no such file, or `max`
        return 1 << 62


def _gpu() -> Iterator[Finding]:
    is_used = gpu_or_cpu().type != "cpu"
    yield Finding("GPU", gpu_model() if is_used else "none is used; stages compute on the CPU")


def _precision(root: Path, base: Base) -> Iterator[Finding]:
    slow = slow_precision(root)
    text = f"base.precision is {base.precision}" + ("" if slow else ", which suits this machine")
    yield Finding("precision", text, slow or "")


def _disk(root: Path) -> Iterator[Finding]:
    free = size_text(shutil.disk_usage(root).free)
    yield Finding("disk", f"{free} free here; frcnn check-data says what the stages will store")


def _graph(root: Path) -> Iterator[Finding]:
    with opened(root) as repo:
        yield Finding("graph", f"dvc.yaml has {len(nodes_of(repo, []))} stages")


def _locks(root: Path) -> Iterator[Finding]:
    if has_locks(root / ".dvc"):
        yield Finding("locks", "the file system has locks (flock)")
    else:
        text = "the file system has no locks (flock): runs set core.hardlink_lock for DVC (docs/faults.md)"
        yield Finding("locks", text)


def _working(repo: Repo) -> list[str]:
    """Those of `LINKS` that work from the cache to the workspace, the best first."""
    cache = repo.cache.local
    place = str(_nearest(Path(cache.path)))  # so that no folder is made
    return [*links_that_work(list(LINKS[:-1]), cache.fs, place, repo.fs, repo.root_dir), "copy"]


def _nearest(path: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


def _cache(root: Path) -> Iterator[Finding]:
    """Where DVC's cache is, and how it links what it keeps to data/."""
    with opened(root) as repo:
        cache, wanted = Path(repo.cache.local_cache_dir), list(repo.cache.local.cache_types)
        working, is_set = _working(repo), "dir" in repo.config["cache"]
    place = _nearest(cache)
    there = str(cache)
    if is_set and place != cache:
        there += f", which is not there yet and would be made in {place}"
    if place.stat().st_dev != root.stat().st_dev:
        there += f", {size_text(shutil.disk_usage(place).free)} free there"
    kind = next((name for name in wanted if name in working), None)
    if kind is None:
        text = f"{there}: {', '.join(wanted)} does not work from there to {root.resolve()}"
        yield Finding("cache", text, f"frcnn doctor --link {working[0]}", is_fault=True)
    elif kind == "copy":
        better = next((name for name in working if name != "copy"), None)
        remedy = f"frcnn doctor --link {better}: data/ then has read-only links" if better else ""
        yield Finding("cache", f"{there}: copies, so each artifact takes its space twice", remedy)
    else:
        note = "" if kind == "reflink" else "; files in data/ are read-only"
        yield Finding("cache", f"{there}: {kind}s{note}")
