"""The environment variables of the project. They are not parameters, because they change no result."""

from __future__ import annotations

import math
import os
import sys
from difflib import get_close_matches
from typing import TypeVar

from pipeline.runtime.errors import StartedOtherwise

Number = TypeVar("Number", int, float)

PROCESSES = "FRCNN_PROCESSES"
"""Environment variable: how many processes a stage that goes image by image works in, by default one, which is its
own."""

LOADERS = "FRCNN_LOADERS"
"""Environment variable: how many processes make the batches of a training; by default none, but a thread."""

EVERY_MINUTES, EVERY_ITERATIONS = "FRCNN_CHECKPOINT_MINUTES", "FRCNN_CHECKPOINT_ITERATIONS"
"""Environment variables: how often a training writes a state, by default every five minutes, however many iterations
that is."""

PRELOAD = "FRCNN_PRELOAD"
"""Environment variable: 0 where each stage is to start a Python of its own, by default 1, see `pipeline.preload`."""

VARIABLES = (PROCESSES, LOADERS, EVERY_MINUTES, EVERY_ITERATIONS, PRELOAD)
"""Those that users set."""

_PREFIX = "FRCNN_"
_MOST_PROCESSES = 512
"""So that a slip of the keyboard does not fill the machine with processes."""
_HANDED_ON = ("FRCNN_HANDED_OVER", "FRCNN_PRELOADED", "FRCNN_WORKSPACE")
_HANDED_ON_PREFIXES = ("FRCNN_WORKER_", "FRCNN_DRILL_")
"""Those that the project and its tests set for their own processes."""


def process_count() -> int:
    """How many processes the environment asks for.

    Raises:
        StartedOtherwise: it is not a whole number from 1 to 512.
    """
    return _count_from(
        PROCESSES, 1, 1, f"give a whole number from 1 to {_MOST_PROCESSES}, or leave it out for 1", _MOST_PROCESSES
    )


def loader_count() -> int:
    """How many processes for batches the environment asks for.

    Raises:
        StartedOtherwise: it is not a whole number from 0 to 512.
    """
    return _count_from(
        LOADERS, 0, 0, f"give a whole number from 0 to {_MOST_PROCESSES}, or leave it out for a thread", _MOST_PROCESSES
    )


def minutes_between_states() -> float:
    """After how many minutes the environment asks for a training's state.

    Raises:
        StartedOtherwise: it is not a finite number above 0.
    """
    text = os.environ.get(EVERY_MINUTES, "").strip()
    try:
        minutes = float(text.replace("_", "no number")) if text else 5.0
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise StartedOtherwise(f"{EVERY_MINUTES}={_shown(text)}: give a finite number above 0, or leave it out for 5")
    return minutes


def iterations_between_states() -> float:
    """After how many iterations it asks for one, infinity where it does not.

    Raises:
        StartedOtherwise: it is not a whole number above 0.
    """
    return _count_from(EVERY_ITERATIONS, math.inf, 1, "give a whole number above 0, or leave it out")


def preloads() -> bool:
    """Whether the environment lets stages run in forks of a process that has imported their libraries.

    Raises:
        StartedOtherwise: it is not 0 or 1.
    """
    return bool(
        _count_from(PRELOAD, 1, 0, "give a number, 0 for a new Python per stage or 1, or leave it out for 1", 1)
    )


def check_variables(side_by_side: bool = False) -> None:
    """Check all before any stage starts, and print a line for each that has the project's prefix and no effect.

    Args:
        side_by_side: whether stages run side by side; then several processes per stage get a line too.

    Raises:
        StartedOtherwise: one has a wrong value.
    """
    for line in wrong_variables():
        raise StartedOtherwise(line)
    for line in unknown_variables():
        print(line, file=sys.stderr)
    count = process_count()
    if side_by_side and count > 1:
        print(
            f"{PROCESSES}={count}: stages run side by side here, and each that goes image by image starts {count} "
            "processes; unset it where cores or memory are short",
            file=sys.stderr,
        )


def variables_that_are_set() -> dict[str, str]:
    """Those of `VARIABLES` that are set, with what the environment says."""
    return {name: text for name in VARIABLES if (text := os.environ.get(name, "").strip())}


def wrong_variables() -> list[str]:
    """A line for each of `VARIABLES` that is set to something wrong."""
    lines = []
    for read in (process_count, loader_count, minutes_between_states, iterations_between_states, preloads):
        try:
            read()
        except StartedOtherwise as error:
            lines.append(str(error))
    return lines


def unknown_variables() -> list[str]:
    """A line for each that has the project's prefix and no effect."""
    names = sorted(name for name in os.environ if name.startswith(_PREFIX) and not name.startswith(_HANDED_ON_PREFIXES))
    known = {variable.removeprefix(_PREFIX): variable for variable in VARIABLES}
    lines = []
    for name in names:
        if name not in VARIABLES and name not in _HANDED_ON:
            near = get_close_matches(name.removeprefix(_PREFIX), list(known), n=1)
            which = f"the nearest is {known[near[0]]}" if near else f"there are {', '.join(VARIABLES)}"
            lines.append(f"{name}: no such variable, so it has no effect; {which}")
    return lines


def _count_from(name: str, usual: Number, least: int, remedy: str, most: float = math.inf) -> int | Number:
    """The whole number in an environment variable, `usual` where it is empty or not set.

    Args:
        remedy: what to do where it is something else, for the message.

    Raises:
        StartedOtherwise: it is not a whole number from `least` to `most`.
    """
    text = os.environ.get(name, "").strip()
    # Python refuses to read thousands of digits.
    if text and not (text.isdecimal() and len(text) < 4000 and least <= int(text) <= most):
        raise StartedOtherwise(f"{name}={_shown(text)}: {remedy}")
    return int(text) if text else usual


def _shown(text: str) -> str:
    """A value in one line, cut where it is long."""
    line = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
    return line if len(line) <= 40 else f"{line[:37]}..."
