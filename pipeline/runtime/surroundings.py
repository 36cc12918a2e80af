"""Checks the environment of a run before anything starts: a git repository, a name for the user."""

from __future__ import annotations

import configparser
import os
import pwd
import shlex
import subprocess
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from pipeline.runtime.errors import InputError


def check_repository(root: Path) -> None:
    """Whether DVC can work in `root`, which takes git.

    Raises:
        InputError: git or the git repository is missing, or git does not work in it.
    """
    root = Path(root).resolve()
    config = configparser.ConfigParser(interpolation=None)
    config.read([root / ".dvc/config", root / ".dvc/config.local"], encoding="utf-8")
    if not (root / ".dvc").is_dir() or config.getboolean("core", "no_scm", fallback=False):
        return
    try:
        asked = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--git-dir"],
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise InputError(f"git: {error.strerror or error}; install it, DVC works with git") from None
    if asked.returncode == 0:
        return
    place, output = shlex.quote(str(root)), " ".join(asked.stderr.split())
    if "dubious ownership" in output:
        remedy = f"git config --global --add safe.directory {place}"
        raise InputError(f"{root}: belongs to another user, so git does not work in it; run {remedy}")
    if "not a git repository" in output:
        raise InputError(f"{root}: no git repository here, and DVC works with one; run git init {place}")
    raise InputError(f"{root}: git does not work here ({output[:200]}); fix that first")


def name_user(environment: MutableMapping[str, str]) -> None:
    """Give a user without a name, as in a container of another user's id, one that DVC and Prefect can ask for, and a
    home folder where there is none."""
    known = True
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        known = False
    if not known and not any(environment.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        environment["USER"] = f"user{os.getuid()}"
    home = Path(environment.get("HOME") or ("~" if known else "/nowhere")).expanduser()
    if not os.access(home, os.W_OK):
        environment["HOME"] = str(Path(tempfile.gettempdir()) / f"frcnn-home-{os.getuid()}")
        Path(environment["HOME"]).mkdir(mode=0o700, exist_ok=True)
