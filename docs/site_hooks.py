"""Hooks of the documentation site: what pages link to outside docs/ becomes pages of the site.

On a code host a link such as `../pipeline/nn/anchors.py` opens the file. The site has a page
`source/pipeline/nn/anchors.py` with the text of the file, and for a folder one that lists what lies in it.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = re.compile(r"\]\(\.\./(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".lock": "yaml"}
UNSEARCHED = "---\nsearch:\n  exclude: true\nhide: [navigation]\n---\n"


def on_files(files: Any, config: Any) -> Any:
    """Add the changelog and a page for each file or folder that a page links to outside docs/."""
    from mkdocs.structure.files import File, InclusionLevel

    linked = {
        match["path"].rstrip("/")
        for page in sorted((ROOT / "docs").glob("*.md"))
        for match in OUTSIDE.finditer(page.read_text(encoding="utf-8"))
    }
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    pages = {"CHANGELOG.md": changes.replace("](docs/", "](")}
    for path in sorted(linked - set(pages)):
        pages[f"source/{path}.md"] = UNSEARCHED + shown(path)
    for name, content in pages.items():
        level = InclusionLevel.NOT_IN_NAV if name.startswith("source/") else InclusionLevel.UNDEFINED
        files.append(File.generated(config, name, content=content, inclusion=level))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead the links out of docs/ to those pages."""
    if "/" in page.file.src_uri:
        return markdown
    return OUTSIDE.sub(lambda match: f"]({place_of(match['path'].rstrip('/'))}{match['anchor'] or ''})", markdown)


def place_of(path: str) -> str:
    """The page of a file or folder, from a page of docs/."""
    return path if path == "CHANGELOG.md" else f"source/{path}.md"


def shown(path: str) -> str:
    """The text of a file as code, or the names in a folder."""
    place = ROOT / path
    if place.is_dir():
        names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in place.iterdir())
        listed = "\n".join(f"- `{name}`" for name in names if not name.startswith(("__pycache__", ".")))
        return f"# {path}/\n\n{listed}\n"
    language = LANGUAGES.get(PurePosixPath(path).suffix, "text")
    return f"# {path}\n\n~~~~{language}\n{place.read_text(encoding='utf-8')}\n~~~~\n"
