"""Which library modules a stage's code uses, so that dvc.yaml can list them and no others.

Imports are found in the source, wherever they stand, and followed from module to module.
"""

from __future__ import annotations

import ast
from pathlib import Path

_PACKAGES = ("pipeline", "stages")


def modules_used_by(module: Path, root: Path) -> set[Path]:
    """The project's modules that `module` imports, directly or not, as paths relative to `root`; not itself.

    Packages' `__init__.py` are left out: they hold a docstring only, which a test checks.
    """
    found: set[Path] = set()
    waiting = [Path(module)]
    while waiting:
        for used in _imported_by(waiting.pop(), root) - found:
            found.add(used)
            waiting.append(used)
    return found - {Path(module)}


def _imported_by(module: Path, root: Path) -> set[Path]:
    names: set[str] = set()
    for node in ast.walk(ast.parse((root / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    candidates = (Path(*name.split(".")).with_suffix(".py") for name in names if name.split(".")[0] in _PACKAGES)
    return {path for path in candidates if (root / path).is_file()}
