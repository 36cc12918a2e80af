"""The versions of libraries in locks."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.runtime.code_locks.lock import NOT_INSTALLED
from tests.runtime.code_locks.small_trees import tree_of


def installed(folder: Path, name: str, text: str | None) -> None:
    """A distribution with that METADATA, or without one, as an interrupted install leaves it."""
    info = folder / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    if text is not None:
        (info / "METADATA").write_text(text)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to install into."""
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    return tmp_path / "packages"


def versions(root: Path, **libraries: tuple[str, ...]) -> Mapping[str, str]:
    imports = "\n".join(f"import {name}.part" for name in libraries)
    tree = tree_of(root, {"a/__init__.py": "", "a/start.py": imports}, libraries={**libraries, "unused": ("pip",)})
    return tree.lock("a.start").libraries


def test_versions_leave_out_what_tells_builds_apart(tmp_path: Path, packages: Path) -> None:
    for name, version in (("madeup-one", "2.15.0+cu130"), ("madeup-two", "1.0rc1"), ("madeup-two-headless", "9")):
        installed(packages, name.replace("-", "_"), f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    found = versions(tmp_path, one=("madeup-one",), two=("madeup-none", "madeup-two", "madeup-two-headless"))
    assert found == {"one": "2.15.0", "two": "1.0rc1"}


def test_a_library_without_a_distribution_tells_its_version_or_counts_as_not_installed(
    tmp_path: Path, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = types.ModuleType("madeup_built")
    built.__version__ = "3.1+g1234"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "madeup_built", built)
    monkeypatch.setitem(sys.modules, "madeup_silent", types.ModuleType("madeup_silent"))
    packages.mkdir()
    (packages / "madeup_broken.py").write_text("raise OSError('libmadeup.so: cannot open shared object file')")
    names = ("madeup_built", "madeup_silent", "madeup_broken", "madeup_absent")
    found = versions(tmp_path, **{name: (name,) for name in names})
    assert found == {"madeup_built": "3.1", **dict.fromkeys(names[1:], NOT_INSTALLED)}


def test_an_install_that_broke_off_is_passed(tmp_path: Path, packages: Path) -> None:
    installed(packages, "madeup_half", None)
    installed(packages, "madeup_whole", "Metadata-Version: 2.1\nName: madeup-whole\nVersion: 4\n")
    assert versions(tmp_path, whole=("madeup-half", "madeup-whole"), half=("madeup-half",)) == {
        "whole": "4",
        "half": NOT_INSTALLED,
    }


def test_only_libraries_that_the_closure_imports_belong_to_a_lock(tmp_path: Path) -> None:
    files = {
        "a/__init__.py": "",
        "a/start.py": "import a.one, a.shown\nif TYPE_CHECKING:\n    import pandas",
        "a/one.py": "def f():\n    import numpy.linalg",
        "a/shown.py": "import tqdm",
    }
    libraries = {name: ("pip",) for name in ("numpy", "pandas", "tqdm", "linalg")}
    assert list(tree_of(tmp_path, files, ["a.shown"], libraries).lock("a.start").libraries) == ["numpy"]
