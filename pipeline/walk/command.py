"""`frcnn walk`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.artifacts.atomic import atomic_file, write_text
from pipeline.runtime.errors import InputError
from pipeline.walk.network import make_network, recipe
from pipeline.walk.page import make_page
from pipeline.walk.photo import drawn_photo, read_photo

PAGE, PICTURES = "walkthrough.md", "walkthrough"
_PROJECT = Path(__file__).resolve().parents[2]


def walk(
    photo: Path | None, boxes: Sequence[str], weights: Path | None, out: Path, echo: Callable[[str], None]
) -> None:
    """Write the page and its pictures into `out`.

    Args:
        photo: None: the one that is drawn. boxes: see `read_photo`. weights: see `make_network`.
    """
    if photo is None and boxes:
        raise InputError("--boxes: need a photo; give PHOTO too")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; give a folder for {PAGE} and its pictures")
    seen = drawn_photo() if photo is None else read_photo(photo, boxes)
    page = make_page(seen, make_network(recipe(), weights))
    pictures = page.pictures()
    (out / PICTURES).mkdir(parents=True, exist_ok=True)
    for name, data in pictures.items():
        with atomic_file(out / PICTURES / f"{name}.webp") as temporary:
            temporary.write_bytes(data)
    code, docs = (_link(place, out.resolve()) for place in (_PROJECT, _PROJECT / "docs"))
    write_text(out / PAGE, page.text(PICTURES, code, "" if docs == "." else f"{docs}/"))
    size = sum(map(len, pictures.values())) // 1000
    echo(f"{out / PAGE}: written, with {len(pictures)} pictures of {size} kB in {out / PICTURES}")


def _link(place: Path, out: Path) -> str:
    """Where a page in `out` finds a folder of the project: from within the project by a relative path, otherwise by an
    absolute address, so that the folder of the page can be moved."""
    if out.is_relative_to(_PROJECT):
        return Path(os.path.relpath(place, out)).as_posix()
    return place.as_uri()
