"""The docs as a site and by hand: every page can be reached, every heading that is linked to exists, and every command
that is shown exists too."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import typer

from pipeline.cli import app
from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
VERBS = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
PRESETS = {path.stem for path in (ROOT / "pipeline/presets").glob("*.yaml")}
FENCE = re.compile(r"^```(?:\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def headings(page: Path) -> set[str]:
    """The ids that headings get on code hosts and in the site; a second heading of the same words gets `-1`."""
    found: dict[str, int] = {}
    ids = set()
    for line in FENCE.sub("", page.read_text(encoding="utf-8")).splitlines():
        if line.startswith("#"):
            words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line.lstrip("#").strip().lower())
            name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
            ids.add(f"{name}-{found[name]}" if name in found else name)
            found[name] = found.get(name, 0) + 1
    return ids


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_headings_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s#]*)#([^)\s]+)\)", page.read_text(encoding="utf-8"))
    local = [(page.parent / target if target else page, name) for target, name in links if ":" not in target]
    assert [f"{to.name}#{name}" for to, name in local if to.suffix == ".md" and name not in headings(to)] == []


@pytest.mark.parametrize("listing", ["mkdocs.yml", "docs/index.md"])
def test_every_page_can_be_reached(listing: str) -> None:
    """From the navigation of the site, and from the index of the docs."""
    linked = set(re.findall(r"[\w-]+\.md", (ROOT / listing).read_text(encoding="utf-8")))
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_are_shown_exist(page: Path) -> None:
    shown = page.read_text(encoding="utf-8")
    verbs = re.findall(r"(?:^|`|\$ |&& )frcnn ([a-z][\w-]*)", shown, flags=re.MULTILINE)
    targets = [
        match for block in FENCE.findall(shown) for match in re.findall(r"^(?:\$ )?make ([a-z][\w-]*)", block, re.M)
    ]
    presets = re.findall(r"frcnn preset ([a-z]\w*)", shown)
    assert set(verbs) <= VERBS
    assert set(targets) <= TARGETS
    assert set(presets) <= PRESETS | {"shapes_points", "shapes_NAME"}, "a preset that is not in pipeline/presets"


def test_the_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 75


@pytest.mark.long
def test_the_site_is_built_without_a_broken_link(tmp_path: Path) -> None:
    mkdocs = ROOT / ".venv-docs/bin/mkdocs"
    if not mkdocs.exists():
        pytest.skip("there is no .venv-docs; make docs installs mkdocs-material into it")
    built = subprocess.run(
        [mkdocs, "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "site/source/pipeline/nn/anchors.py.html").is_file()
    assert (tmp_path / "site/CHANGELOG.html").is_file()
