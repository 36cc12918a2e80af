"""Which stages ran in forks of a Python that had imported their libraries."""

from __future__ import annotations

from pathlib import Path

_SITE = """
import os
def note():
    with open(f"/proc/{os.getppid()}/cmdline") as parent, open(os.environ["FORKS"], "a") as file:
        file.write(parent.read().replace(chr(0), " ") + chr(10))
os.register_at_fork(after_in_child=note)
"""


class StageForks:
    """Notes them in a folder.

    Attributes:
        site: to be on the PYTHONPATH of all. variables: to be in the environment of all.
    """

    def __init__(self, folder: Path) -> None:
        self.site, self._notes = folder / "site", folder / "forks"
        self.site.mkdir()
        (self.site / "sitecustomize.py").write_text(_SITE)
        self.variables = {"FORKS": str(self._notes)}

    def count(self) -> int:
        """How many there were so far."""
        lines = self._notes.read_text().splitlines() if self._notes.exists() else []
        return sum("pipeline.preload.stage_python" in line for line in lines)
