"""Keeps pandas out of a process that does not import it itself."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

import pyarrow as pa


def keep_pandas_out() -> None:
    """Let pyarrow find no pandas, until somebody asks it for a DataFrame.

    At its first conversion it imports pandas to see whether it is given something of pandas. That takes a third of a
    second, and drops the exception of a signal that comes meanwhile. Afterwards it still makes a DataFrame, but takes
    none, nor a Series, which no stage gives it. Where pandas is imported already, nothing changes.
    """
    if "pandas" in sys.modules:
        return
    absent = _Absent()
    sys.meta_path.insert(0, absent)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(absent)


class _Absent(MetaPathFinder):
    """Finds, before all others, that there is no pandas."""

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(name=fullname)
