"""Single queries to git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pipeline.runtime.errors import InputError


def git(root: Path, *arguments: str, stdin: str | None = None, **environment: str) -> str:
    """What a git command prints, in `root`.

    Args:
        stdin: what it reads. environment: variables beside those of this process.

    Raises:
        InputError: it failed; its own words say why.
    """
    result = subprocess.run(
        ["git", "-C", str(root), *arguments],
        input=stdin,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise InputError(f"git {' '.join(arguments[:2])} in {root}: {' '.join(result.stderr.split())}")
    return result.stdout
