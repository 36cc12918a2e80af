"""Work that is cut short in the process of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from pipeline.artifacts.manifest import write_manifest
from tests.in_process import prepared


class Killed(BaseException):
    """What SIGKILL is to a process."""


@contextmanager
def killed_at(loader: type[Callable[[int], Any]], iteration: int) -> Iterator[None]:
    """While it lasts, loaders of batches raise `Killed` at an iteration, counted from 0."""
    load = loader.__call__

    def load_killed(self: Any, wanted: int) -> Any:
        if wanted == iteration:
            raise Killed
        return load(self, wanted)

    with patch.object(loader, "__call__", load_killed):
        yield


def killed_and_resumed(name: str, root: Path, folder: Path, loader: type[Callable[[int], Any]], iteration: int) -> Path:
    """Run a training of the project in `root` that is killed at an iteration, and again; the folder that it wrote."""
    work, stage = prepared(name, root, folder / "out", scratch=folder / "scratch")
    with killed_at(loader, iteration), pytest.raises(Killed):
        work(stage)
    work, stage = prepared(name, root, folder / "out", scratch=folder / "scratch")
    work(stage)
    write_manifest(stage.out, name, stage.kernels)
    return stage.out
