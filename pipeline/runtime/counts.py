"""Environment variables for the number of processes that do a stage's work. They are not parameters, because they do
not change its result."""

from __future__ import annotations

import os

from pipeline.runtime.errors import StartedOtherwise


def count_from(name: str, least: int, remedy: str) -> int:
    """The number in an environment variable, `least` where it is empty or not set.

    Args:
        remedy: what to do where it is something else, for the message.

    Raises:
        StartedOtherwise: it is not a whole number of at least `least`.
    """
    text = os.environ.get(name, "").strip()
    if text and not (text.isdecimal() and int(text) >= least):
        raise StartedOtherwise(f"{name}={text}: {remedy}")
    return int(text or least)
