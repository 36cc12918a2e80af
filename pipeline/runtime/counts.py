"""Environment variables for the number of processes that do a stage's work. They are not parameters, because they do
not change its result."""

from __future__ import annotations

import os

from pipeline.runtime.errors import StartedOtherwise

PROCESSES = "FRCNN_PROCESSES"
"""Environment variable: how many processes a stage that goes image by image works in, by default one, which is its
own."""

LOADERS = "FRCNN_LOADERS"
"""Environment variable: how many processes make the batches of a training; by default none, but a thread."""


def process_count() -> int:
    """How many processes the environment asks for.

    Raises:
        StartedOtherwise: it is not a whole number above 0.
    """
    return _count_from(PROCESSES, 1, "give a whole number above 0, or leave it out for 1")


def loader_count() -> int:
    """How many processes for batches the environment asks for.

    Raises:
        StartedOtherwise: it is not a whole number.
    """
    return _count_from(LOADERS, 0, "give a whole number, 0 or more, or leave it out for a thread")


def check_counts() -> None:
    """Check both before any stage starts.

    Raises:
        StartedOtherwise: see above.
    """
    process_count()
    loader_count()


def _count_from(name: str, least: int, remedy: str) -> int:
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
