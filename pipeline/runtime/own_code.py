"""The project's code, as it is locked."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.runtime.code_locks.lock import CodeError, CodeLock, read_lock
from pipeline.runtime.code_locks.running import RunningCode, running_module
from pipeline.runtime.code_locks.tree import SourceTree
from pipeline.runtime.family_part import part_module

MEMO = Path("code-digests.json")
"""Among the project's notes: digests by content."""

CODE_STAGE = "code"
"""The stage that writes the locks. It always runs, before all others."""

LOCKS = Path("data/code")
"""The folder of the locks, in a project."""


def lock_name(module: str, family: str = "") -> str:
    """The name of a lock, without its suffix: that of a module of stages/, or of it and a family's part of it."""
    return f"{module}-{family}" if family else module


def lock_path(module: str, family: str = "") -> str:
    """The lock of a module of stages/, or of it and a family's part of it, as dvc.yaml names it."""
    return (LOCKS / f"{lock_name(module, family)}.json").as_posix()


PACKAGES = ("pipeline", "stages")

LIBRARIES = {
    "torch": ("torch",),
    "torchvision": ("torchvision",),
    "numpy": ("numpy",),
    "accelerate": ("accelerate",),
    "faster_coco_eval": ("faster-coco-eval",),
    "pyarrow": ("pyarrow",),
    "cv2": ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
}
"""Libraries whose versions belong to locks, as results or their bytes differ: the names to import and to install them
by."""

EXTRAS = {"timm": ("timm",)}
"""The same of optional libraries. Their versions belong to locks only where params.yaml names what is made with them,
so that installing one reruns nothing."""

LEFT_OUT = (
    "stages",  # finds the environment
    "pipeline.preload",
    "pipeline.preload.client",
    "pipeline.preload.stage_client",
    "pipeline.runtime.code_locks.*",
    "pipeline.runtime.own_code",
    "pipeline.runtime.stage_process",
    "pipeline.runtime.stopping",
    "pipeline.runtime.data_folder",
    "pipeline.runtime.locking",
    "pipeline.runtime.progress",
    "pipeline.runtime.run_key",
    "pipeline.runtime.run_times",
    "pipeline.runtime.version",
    "pipeline.runtime.words",
)
"""Modules that no result depends on: they say something to a person, end the process, or keep others out. A test looks
after the list."""


def own_code(memo: Path | None = None, root: Path | None = None, extras: Iterable[str] = ()) -> SourceTree:
    """The code in a project's folder; without one the code in use.

    Args:
        memo: see `SourceTree`. extras: those of `EXTRAS` whose versions belong to locks.
    """
    libraries = LIBRARIES | {name: EXTRAS[name] for name in extras}
    return SourceTree(root or Path(__file__).parents[2], PACKAGES, libraries, LEFT_OUT, memo)


def extras_of(params: Any) -> tuple[str, ...]:
    """Which of `EXTRAS` the content of a params.yaml asks for; what is wrong with it is found elsewhere."""
    backbone = params.get("backbone") if isinstance(params, Mapping) else None
    name = backbone.get("name") if isinstance(backbone, Mapping) else None
    return tuple(extra for extra in EXTRAS if str(name).startswith(f"{extra}/"))


def is_family(name: str, tree: SourceTree | None = None) -> bool:
    """Whether the code has a family of the name."""
    return name.isidentifier() and (tree or own_code()).has(f"pipeline.families.{name}")


def locked_modules(tree: SourceTree, module: str, family: str = "") -> tuple[str, ...]:
    """What the lock of a module of stages/ is of: that module, and the family's part of it, or its package where it has
    none (`pipeline.runtime.family_part.locked_part`).

    Raises:
        CodeError: there is no such family.
    """
    if not family:
        return (f"stages.{module}",)
    if not is_family(family, tree):
        raise CodeError(f"pipeline/families/{family}: no such family, and stages.{module} is to run a part of it")
    part = part_module(family, module)
    return (f"stages.{module}", part if tree.has(part) else f"pipeline.families.{family}")


def stage_locks(
    stages: Iterable[tuple[str, str]],
    memo: Path | None = None,
    root: Path | None = None,
    extras: Iterable[str] = (),
) -> dict[str, CodeLock]:
    """Locks by name (`lock_name`), from the sources as they are now.

    Args:
        stages: modules of stages/, each with the family whose part of it runs, or an empty text.
        memo: see `SourceTree`. root, extras: as in `own_code`.

    Raises:
        CodeError: a module is not there, although one of a closure imports it, or it is not valid Python.
    """
    tree, locks = own_code(memo, root, extras), dict[str, CodeLock]()
    with tree.at_one_time():
        for module, family in sorted(stages):
            start, *parts = locked_modules(tree, module, family)
            lock = locks[lock_name(module, family)] = tree.lock(start, parts)
            for gone, path in tree.missing(lock).items():
                raise CodeError(f"{path}: imports {gone}, which is not there; put it back, or do not import it")
    tree.keep_memo()
    return locks


def running_code(lock_file: Path | None, memo: Path | None = None, parts: Iterable[str] = ()) -> RunningCode:
    """The code of this process's stage, compared with its lock.

    Args:
        lock_file: as stage `code` wrote it; None where a stage is run by hand without one. memo: see `SourceTree`.
        parts: modules that the stage has loaded by a name which it was given.

    Raises:
        CodeError: the code is not what the lock says.
    """
    # The first package that a stage imports notes when that was. It is looked up, as the library imports no stage.
    started = getattr(sys.modules.get("stages"), "STARTED", None)
    extras = _extras_in(lock_file) if lock_file is not None else ()
    return RunningCode(own_code(memo, extras=extras), lock_file, running_module(PACKAGES), started, parts=tuple(parts))


def _extras_in(lock_file: Path) -> list[str]:
    """The libraries whose versions a lock holds."""
    try:
        return sorted(EXTRAS.keys() & read_lock(lock_file).libraries.keys())
    except CodeError:
        return []  # which `RunningCode` names
