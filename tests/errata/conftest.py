"""The pages that these tests prove, entry by entry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


class Page:
    """Entries of a page of the docs, by id or by the first words of their table row."""

    def __init__(self, entries: dict[str, str]) -> None:
        self.entries = entries

    def quotes(self, entry: str, *values: str) -> None:
        """Fail unless the one entry that begins with `entry` shows each value, and not as part of another number."""
        (text,) = [body for name, body in self.entries.items() if re.match(rf"{re.escape(entry)}(?![\w-])", name)]
        shown = [re.search(rf"(?<![\d.,-]){re.escape(value)}(?!\d|[.,]\d)", text) for value in values]
        assert [value for value, found in zip(values, shown, strict=True) if not found] == [], text


@pytest.fixture(scope="session")
def errata() -> Page:
    """docs/errata.md: what stands below each third-level heading, which is the entry's id."""
    parts = re.split(r"^### ", (DOCS / "errata.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    entries = [part.partition("\n") for part in parts]
    assert len({name for name, _, _ in entries}) == len(entries)
    return Page({name.strip(): re.split(r"^## ", body, flags=re.MULTILINE)[0] for name, _, body in entries})


@pytest.fixture(scope="session")
def compatibility() -> Page:
    """docs/compatibility.md: the table rows, by their first cell."""
    lines = (DOCS / "compatibility.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    entries = {line.split("|")[1].strip(): line for line in rows if line.split("|")[1].strip() != "Difference"}
    return Page(entries)
