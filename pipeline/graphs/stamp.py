"""The stamp of a generated dvc.yaml: its first lines name the graph files and a digest of the rest.

They show whether it was edited by hand since, and which family it belongs to, without reading the graph files.
"""

from __future__ import annotations

import hashlib
import re

_FORM = re.compile(
    r"# Made from graphs/common\.yaml and graphs/(?P<family>\w+)\.yaml\..*\n"
    r"# SHA-256 of what follows: (?P<digest>[0-9a-f]{64})\n#\n"
)


def stamped(family: str, rest: str) -> str:
    """A text under its stamp."""
    return (
        f"# Made from graphs/common.yaml and graphs/{family}.yaml. Edit those and run `frcnn graph`; do not edit this "
        f"file.\n# SHA-256 of what follows: {_digest(rest)}\n#\n{rest}"
    )


def stamp_of(text: str) -> tuple[str, bool] | None:
    """The family that a dvc.yaml's stamp names, and whether what follows it is as it was written; None without one."""
    text = _with_plain_ends(text)
    found = _FORM.match(text)
    return (found["family"], found["digest"] == _digest(text[found.end() :])) if found else None


def without_stamp(text: str) -> str:
    """What follows the stamp, its line ends as Python writes them; all of it where there is none."""
    text = _with_plain_ends(text)
    return text[found.end() :] if (found := _FORM.match(text)) else text


def _digest(rest: str) -> str:
    return hashlib.sha256(_with_plain_ends(rest).encode()).hexdigest()


def _with_plain_ends(text: str) -> str:
    """Normalise line ends, which git may change on some systems."""
    return text.replace("\r\n", "\n")
