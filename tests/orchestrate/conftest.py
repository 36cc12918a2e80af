"""Small DVC repositories, and waiting for what other processes do."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.forked import run_forked_dvc


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What `condition` gives as soon as that is true."""
    never, tries = threading.Event(), int(seconds / 0.02)
    for _ in range(tries):
        if found := condition():
            return found
        never.wait(0.02)
    raise AssertionError(f"{condition} did not come true in {seconds} s")


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pids: Iterable[int]) -> bool:
    return not any(map(alive, pids))


def python(code: str) -> str:
    """A shell command that runs `code`."""
    return f"python -S -c {shlex.quote(code)}"


@dataclass
class Toy:
    """A DVC repository of a few tiny stages."""

    root: Path

    def write(self, stages: dict[str, Any]) -> None:
        (self.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))

    def repro(self, *arguments: str) -> None:
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        ended = run_forked_dvc(self.root, environment, "repro", "--quiet", *arguments)
        assert ended.returncode == 0, ended.stderr


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    root = tmp_path / "toy"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc/config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return Toy(root)
