"""The states of a training under way, copied to where other workers find them, so that one resumes where another died.

A state is two files, each written at once, the note after the tensors (see `pipeline.training.checkpoints`); a copy is
made in the same order, and a reader checks it, so that one cut short counts for nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dvc.repo import Repo

from pipeline.orchestrate.run_cache import has_remote

_SECONDS_BETWEEN_LOOKS = 5.0
_FOLDER = "frcnn-states"


class SharedStates:
    """The states of one run, by its key, in a folder that all workers reach.

    Args:
        fs, folder: a file system of DVC's and the folder in it that holds results.
        own: the folder in which the stage keeps its states, on this machine.
    """

    def __init__(self, fs: Any, folder: str, key: str, own: Path) -> None:
        self._fs, self._folder, self._own = fs, fs.join(folder, _FOLDER, key), own
        self._sent: dict[str, tuple[int, int]] = {}

    def fetch(self) -> int:
        """Bring the states that another worker has left; how many files they are."""
        names = self._there()
        for name in names:
            target = self._own / name
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f"{target.name}.partial")
            self._fs.get_file(self._fs.join(self._folder, *Path(name).parts), str(partial))
            partial.rename(target)
            self._sent[name] = _version(target)
        return len(names)

    @contextmanager
    def sent_while(self) -> Iterator[None]:
        """Within this, new states are copied as they come, and a last time at the end."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(_SECONDS_BETWEEN_LOOKS):
                # The next look tries again; a training does not end because its states cannot be copied.
                with suppress(Exception):
                    self.send()

        sender = threading.Thread(target=look, daemon=True)
        sender.start()
        try:
            yield
        finally:
            over.set()
            sender.join()
            with suppress(Exception):
                self.send()

    def send(self) -> None:
        """Copy what is new, and remove what the stage has removed."""
        here = {path.relative_to(self._own).as_posix(): path for path in self._own.glob("*/state-*")}
        # The tensors before the note that names them.
        for name in sorted(here, key=lambda name: (Path(name).stem, name.endswith(".json"))):
            with suppress(FileNotFoundError):
                version = _version(here[name])
                if self._sent.get(name) != version:
                    self._put(name, here[name])
                    self._sent[name] = version
        for name in set(self._sent) - set(here):
            self._remove(name)
            del self._sent[name]

    def forget(self) -> None:
        """Remove all: the run is done."""
        for name in self._there():
            self._remove(name)

    def _put(self, name: str, path: Path) -> None:
        target = self._fs.join(self._folder, *Path(name).parts)
        self._fs.makedirs(self._fs.parent(target), exist_ok=True)
        self._fs.put_file(str(path), f"{target}.partial")
        self._fs.mv(f"{target}.partial", target)

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._fs.join(self._folder, *Path(name).parts))

    def _there(self) -> list[str]:
        if not self._fs.exists(self._folder):
            return []
        found = [Path(self._fs.relpath(path, self._folder)).as_posix() for path in self._fs.find(self._folder)]
        return sorted(name for name in found if not name.endswith(".partial"))


def shared_states(repo: Repo, key: str, stage: str) -> SharedStates:
    """Those of a stage's run, in the remote, or in the cache where there is none."""
    odb = repo.cloud.get_remote_odb(None, "worker", hash_name="md5-dos2unix") if has_remote(repo) else repo.cache.legacy
    own = Path(repo.root_dir) / ".dvc/tmp/frcnn/scratch" / stage / "checkpoints"
    return SharedStates(odb.fs, odb.path, key, own)


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
