"""A signal that a process sends itself when it renames a file of a chosen name: at the same place in every run.

A file is complete when it is renamed: before that it is torn, after that it counts.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Python runs it at its start. What stopped is to go on when it is told to, so that one signal is all.
SITE = """
import fnmatch, os, signal
def signal_at(when, name, number):
    real = os.replace
    def replace(source, target):
        if not fnmatch.fnmatch(os.path.basename(target), name):
            return real(source, target)
        os.replace = real
        if when == "after":
            real(source, target)
        os.kill(os.getpid(), int(number))
        if when == "before":
            real(source, target)
    os.replace = replace
if "SIGNAL_AT" in os.environ:
    signal_at(*os.environ["SIGNAL_AT"].split())
"""


def signal_at_rename(site: Path, root: Path, when: str, name: str, number: signal.Signals) -> dict[str, str]:
    """The environment of a process of the project in `root` that gets the signal `when` ("before", "after") it renames
    its first file of a name like `name`; `site` is a folder for what this needs."""
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(SITE)
    return {"SIGNAL_AT": f"{when} {name} {number:d}", "PYTHONPATH": f"{site}{os.pathsep}{root}"}
