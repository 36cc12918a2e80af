"""docs/errata.md and its tests name each other, and its links lead to code that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.errata.conftest import DOCS, Page

FOLDER = Path(__file__).resolve().parent
LINK = re.compile(r"\[`([^`]+)`\]\(([^)#\s]+)\)")


def entry_tests() -> dict[str, Path]:
    """Names of the test functions of this folder, without those of the page itself."""
    files = [path for path in FOLDER.glob("test_errata_*.py") if path != Path(__file__).resolve()]
    assert len(files) > 1
    return {name: path for path in files for name in names_in(path) if name.startswith("test_")}


def names_in(path: Path) -> set[str]:
    """What a module defines at its top, and the methods of its classes as Class.method."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def entry_of(test: str, ids: list[str]) -> list[str]:
    return [entry for entry in ids if test.startswith(f"test_{entry.replace('-', '_')}_")]


def test_every_id_is_short_and_fit_for_a_link(errata: Page) -> None:
    assert len(errata.entries) >= 20
    assert [entry for entry in errata.entries if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+){0,3}", entry)] == []


def test_every_test_belongs_to_one_entry_and_every_entry_names_all_its_tests(errata: Page) -> None:
    ids, named = list(errata.entries), {entry: set[str]() for entry in errata.entries}
    for test in entry_tests():
        (entry,) = entry_of(test, ids)
        named[entry].add(test)
    for entry, tests in named.items():
        assert tests, entry
        assert {name for name, _ in LINK.findall(errata.entries[entry]) if name.startswith("test_")} == tests


def test_every_entry_says_what_is_done_what_goes_wrong_what_is_right_and_where(errata: Page) -> None:
    for entry, body in errata.entries.items():
        assert re.findall(r"^- ([A-Z][a-z]+):", body, flags=re.MULTILINE) == ["Done", "Wrong", "Right", "Here"], entry
        targets = [target for _, target in LINK.findall(body.partition("- Here:")[2])]
        assert any(target.startswith(("../pipeline/", "../stages/")) for target in targets), entry


@pytest.mark.parametrize("page", ["errata.md", "compatibility.md"])
def test_every_link_to_code_leads_to_a_file_that_defines_the_name(page: str) -> None:
    links = LINK.findall((DOCS / page).read_text(encoding="utf-8"))
    assert len(links) >= 10
    wrong = []
    for name, target in links:
        path = (DOCS / target).resolve()
        if path.suffix == ".py" and not (path.is_file() and name in names_in(path)):
            wrong.append((name, target))
    assert wrong == []
