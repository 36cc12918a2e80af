"""What `pytest --portable` runs: the tests whose numbers could depend on the processor."""

from __future__ import annotations

import ast
import os
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PROJECT = ("pipeline", "stages", "benchmarks", "tests")
_NUMERIC = {"torch", "numpy"}


def is_numeric(test: Path) -> bool:
    """Whether a test file, or what it imports of the project, imports torch or NumPy, or it compares floats."""
    folders = [folder for folder in test.parents if folder.is_relative_to(ROOT / "tests")]
    waiting = [test, *(folder / "conftest.py" for folder in folders if (folder / "conftest.py").is_file())]
    seen = {Path(__file__)}  # which conftest.py imports, and so does every test
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            names, used = _imports(file)
            if names & _NUMERIC:
                return True
            waiting += used
    return "approx" in test.read_text(encoding="utf-8")


@cache
def _imports(file: Path) -> tuple[set[str], list[Path]]:
    """Of a file wherever in it they stand: imported packages of others, and the project's modules."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    own = {name for name in names if name.split(".")[0] in _PROJECT}
    modules = (ROOT / Path(*name.split(".")).with_suffix(".py") for name in sorted(own))
    return {name.split(".")[0] for name in names - own}, [path for path in modules if path.is_file()]


def what_is_not_off() -> list[str]:
    """What libraries use although the environment switches it off: a wrong name they may ignore in silence."""
    from tests.processors import numpy_still_has

    wrong = [f"numpy: {name}" for name in numpy_still_has(os.environ.get("NPY_DISABLE_CPU_FEATURES", ""))]
    if os.environ.get("ATEN_CPU_CAPABILITY"):
        import torch

        wanted, found = os.environ["ATEN_CPU_CAPABILITY"].upper(), torch.backends.cpu.get_cpu_capability()
        wrong += [f"torch: {found}, not {wanted}"] if found != wanted else []
    return wrong
