"""A YAML text taken apart at its top-level keys, so that two can be put together with all their comments."""

from __future__ import annotations

import re
from dataclasses import dataclass

_KEY = re.compile(r"""(["']?)(?P<key>[A-Za-z_][\w-]*)\1:(?P<rest>\s.*|)""")


@dataclass(frozen=True)
class YamlBlocks:
    """The parts of a YAML text whose top level is a mapping in block style.

    Attributes:
        header: the comments above the first blank line, or above the first key, without blank lines around them.
        blocks: by top-level key its lines and the comments right above them, without blank lines around them.
    """

    header: str
    blocks: dict[str, str]


def yaml_blocks(text: str) -> YamlBlocks:
    """Take a text apart. What is between keys and no comment belongs to the key before it."""
    header: list[str] = []
    blocks: dict[str, list[str]] = {}
    above: list[str] = []  # comments and blank lines that may belong to the next key
    own = header
    for line in text.splitlines():
        found = _KEY.fullmatch(line)
        if found:
            beside = _trailing_comments(above)
            own += above[: len(above) - len(beside)]
            own = blocks[found["key"]] = [*beside, line]
            above = []
        elif not line.strip() or line.startswith("#"):
            above.append(line)
        else:
            own += [*above, line]
            above = []
    own += above
    if not header and blocks:
        # Comments right above the first key are of the whole text.
        first = next(iter(blocks.values()))
        while first[0].startswith("#"):
            header.append(first.pop(0))
    return YamlBlocks(_joined(header), {key: _joined(lines) for key, lines in blocks.items()})


def split_key(block: str) -> tuple[str, str, str]:
    """A block as the comments above its key, the line of the key, and what is below it; each ends with a line end, or
    is empty."""
    lines = block.splitlines(keepends=True)
    at = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    return "".join(lines[:at]), lines[at], "".join(lines[at + 1 :])


def _trailing_comments(lines: list[str]) -> list[str]:
    count = 0
    while count < len(lines) and lines[-1 - count].startswith("#"):
        count += 1
    return lines[len(lines) - count :]


def _joined(lines: list[str]) -> str:
    text = "\n".join(lines).strip("\n")
    return text and text + "\n"
