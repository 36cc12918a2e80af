"""The version in use, wherever the code lies: no stage fails because nobody knows it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

CODE = "import pipeline.runtime.version as v; print(v.__file__); print(v.current_version())"


@pytest.mark.parametrize(
    ("pyproject", "expected"),
    [
        ('[project]\nname = "frcnn-pipeline"\nversion = "7.8.9"\n', "7.8.9"),
        ('[project]\nname = "mine"\n', "unknown"),
        ("[project", "unknown"),
        (None, "unknown"),
    ],
)
def test_code_that_is_copied_and_not_installed(tmp_path: Path, pyproject: str | None, expected: str) -> None:
    (tmp_path / "pipeline/runtime").mkdir(parents=True)
    for name in ("__init__.py", "runtime/__init__.py", "runtime/version.py"):
        shutil.copyfile(ROOT / "pipeline" / name, tmp_path / "pipeline" / name)
    if pyproject is not None:
        (tmp_path / "pyproject.toml").write_text(pyproject)
    # -S: without the packages that are installed, this project among them.
    result = subprocess.run(
        [sys.executable, "-S", "-c", CODE], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == [str(tmp_path / "pipeline/runtime/version.py"), expected]
