"""The project's code as locks see it, and the lock that a running stage was given."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.code_locks.lock import CodeError, CodeLock, SourceTree, read_lock

MEMO = Path("code-digests.json")
"""Among the project's notes: digests by content."""

PACKAGES = ("pipeline", "stages")

LIBRARIES = {
    "torch": ("torch",),
    "torchvision": ("torchvision",),
    "numpy": ("numpy",),
    "cv2": ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
}
"""Libraries whose versions belong to locks, as results differ: the names to import them by and to install them by."""

LEFT_OUT = (
    "stages",  # finds the environment
    "pipeline.code_locks.*",
    "pipeline.own_code",
    "pipeline.stage_process",
    "pipeline.stopping",
    "pipeline.data_folder",
    "pipeline.locking",
    "pipeline.progress",
    "pipeline.run_key",
    "pipeline.run_times",
    "pipeline.version",
    "pipeline.words",
)
"""Modules that no result depends on: they say something to a person, end the process, or keep others out. A test looks
after the list."""


def own_code(memo: Path | None = None, root: Path | None = None) -> SourceTree:
    """The code in a project's folder; without one the code in use."""
    return SourceTree(root or Path(__file__).parents[1], PACKAGES, LIBRARIES, LEFT_OUT, memo)


def stage_locks(memo: Path | None = None, root: Path | None = None) -> dict[str, CodeLock]:
    """The locks of all modules of stages/ but `code`, by their names there, from the sources as they are now.

    Args:
        memo: see `SourceTree`. root: as in `own_code`.

    Raises:
        CodeError: a module of a closure is no Python.
    """
    tree = own_code(memo, root)
    names = sorted(path.stem for path in (tree.root / "stages").glob("*.py"))
    locks = {name: tree.lock(f"stages.{name}") for name in names if name not in ("__init__", "code")}
    tree.keep_memo()
    return locks


class StageCode:
    """The code of a running stage.

    Args:
        lock_file: its lock, as stage `code` wrote it; None where a stage is run by hand without one.
        memo: see `SourceTree`.

    Raises:
        CodeError: the code is not what the lock says.
    """

    def __init__(self, lock_file: Path | None, memo: Path | None = None) -> None:
        self._lock_file, self._lock = lock_file, None if lock_file is None else _given(lock_file)
        self._tree, module = own_code(memo), _running_module()
        self._is_alone = module is not None  # in a process of its own, which has loaded nothing else
        self.digest = ""
        """Of the code that can change the result; empty where the stage is not run as a module of its own."""
        if self._lock is not None:
            if module is not None and self._lock.module != module:
                raise CodeError(f"{lock_file}: is the lock of {self._lock.module}, and {module} runs; see dvc.yaml")
            self.digest = self._lock.digest
            if changes := self._changes():
                raise CodeError(f"code has changed since stage code ran ({changes}); run dvc repro")
        elif module is not None:
            self.digest = self._tree.lock(module).digest

    def check(self) -> None:
        """Whether the code is still what the lock says, and the lock says all.

        Raises:
            CodeError: it is not.
        """
        if self._lock is None or self._lock_file is None:
            return
        if _given(self._lock_file) != self._lock:  # whose digest DVC files the result under
            raise CodeError(f"{self._lock_file}: changed while it ran, so its result is not kept; run dvc repro")
        if changes := self._changes():
            raise CodeError(
                f"code changed while it ran ({changes}), so its result is not kept; put it back and run it again to "
                "resume, or run dvc repro"
            )
        if self._is_alone and (unlocked := self._tree.unlocked(self._lock)):
            raise CodeError(
                f"{unlocked[0]}: loaded, and not in the stage's code lock, so its result is not kept; import it by an "
                "import statement"
            )

    def _changes(self) -> str:
        assert self._lock is not None
        changes = self._lock.changes(self._tree.lock(self._lock.module))
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        return ", ".join(changes[:3]) + more


def _given(lock_file: Path) -> CodeLock:
    if not lock_file.exists():
        raise CodeError(f"{lock_file}: no such code lock; run dvc repro code first")
    try:
        return read_lock(lock_file)
    except CodeError as error:
        raise CodeError(f"{error}; run dvc repro code first") from None


def _running_module() -> str | None:
    """The module that `python -m` runs, where it is the project's."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    name = spec.name if spec is not None else ""
    return name if name.partition(".")[0] in PACKAGES else None
