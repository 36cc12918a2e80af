"""The code of a running stage, compared with the lock that the stage was given."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path

from pipeline.runtime.code_locks.lock import CodeError, CodeLock, read_lock
from pipeline.runtime.code_locks.tree import SourceTree


class RunningCode:
    """The code of a running stage, checked when this is made.

    Args:
        tree: the project's code.
        lock_file: the stage's lock; None where it is run by hand without one.
        module: what runs, `stages.NAME`; None where that is not a process of the stage's own.
        parts: what it has loaded by names that it was given.
        started: when the process began to import, in seconds since 1970; None where that is not known.
        remedy: the command that rewrites the locks and runs the stage; `remedy_first`: the one that writes them.

    Raises:
        CodeError: the code is not what the lock says.
    """

    def __init__(
        self,
        tree: SourceTree,
        lock_file: Path | None,
        module: str | None,
        started: float | None = None,
        remedy: str = "dvc repro",
        remedy_first: str = "dvc repro code",
        parts: Iterable[str] = (),
    ) -> None:
        self._tree, self._lock_file, self._module = tree, lock_file, module
        self._remedy, self._remedy_first = remedy, remedy_first
        self._lock = None if lock_file is None else self._given(lock_file)
        self.digest = ""
        """Of the code that can change the result; empty where neither a lock nor a module is known."""
        if self._lock is not None:
            locked, runs = (self._lock.module, *self._lock.parts), (module or self._lock.module, *parts)
            if locked != runs:
                raise CodeError(
                    f"{lock_file}: is the lock of {' and '.join(locked)}, and {' and '.join(runs)} runs; see dvc.yaml"
                )
            self.digest = self._lock.digest
            if changes := self._changes():
                raise CodeError(f"the code changed after its lock was made ({changes}); run {remedy}")
            # What was saved since, and undone, may be what was imported.
            if module is not None and started is not None and (saved := self._saved_since(started)):
                raise CodeError(f"the code changed while the stage started ({_some(saved)}); run it again")
        elif module is not None:
            self.digest = tree.lock(module, parts).digest

    def check(self) -> None:
        """Check before publishing that the code is still what the lock says, and that the lock names all that was
        loaded.

        Raises:
            CodeError: it is not.
        """
        if self._lock is None or self._lock_file is None:
            return
        if self._given(self._lock_file) != self._lock:  # whose digest DVC files the result under
            raise CodeError(f"{self._lock_file}: changed while it ran, so its result is not kept; run {self._remedy}")
        try:
            changes = self._changes()
        except CodeError as error:
            changes = str(error)
        if changes:
            raise CodeError(
                f"the code changed while it ran ({changes}), so its result is not kept; undo the edit and rerun, which "
                f"resumes where the stage keeps states, or run {self._remedy}, which starts anew"
            )
        if self._module is not None and (unlocked := self._tree.unlocked(self._lock)):
            raise CodeError(
                f"{unlocked[0]}: loaded, and not in the stage's code lock, so its result is not kept; import it by an "
                "import statement"
            )

    def _changes(self) -> str:
        assert self._lock is not None
        return _some(self._lock.changes(self._tree.lock(self._lock.module, self._lock.parts)))

    def _saved_since(self, started: float) -> list[str]:
        assert self._lock is not None
        # A time to come is that of a file server whose clock is ahead.
        saved = {path: (self._tree.root / path).stat().st_mtime for path in self._lock.modules}
        return [path for path, at in saved.items() if started < at <= time.time()]

    def _given(self, lock_file: Path) -> CodeLock:
        if not lock_file.exists():
            raise CodeError(f"{lock_file}: no such code lock; run {self._remedy_first} first")
        try:
            return read_lock(lock_file)
        except CodeError as error:
            raise CodeError(f"{error}; run {self._remedy_first} first") from None


def running_module(packages: Iterable[str]) -> str | None:
    """The module that `python -m` runs, where it is of one of these packages."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    name = spec.name if spec is not None else ""
    return name if name.partition(".")[0] in packages else None


def _some(items: list[str]) -> str:
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return ", ".join(items[:3]) + more
