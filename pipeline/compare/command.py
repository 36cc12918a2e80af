"""`frcnn compare`: read the results, print the table, write the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.artifacts.atomic import write_text
from pipeline.compare.page import as_text, compare_page, compare_table
from pipeline.compare.rows import Row, comparable, rows_of
from pipeline.compare.sources import source_of, workspace
from pipeline.families.registry import present_family
from pipeline.runtime.errors import InputError
from pipeline.views.results import hardly_learnt_notes, outdated_notes


def compare(root: Path, names: Sequence[str], out: Path, every_network: bool, log: Callable[[str], None]) -> None:
    """Compare the evaluated networks of all families in the workspace, or those of the named projects and experiments.

    What is judged on another data set than the first row, or by another rule, is left out, and a line says so.

    Args:
        out: the page.

    Raises:
        InputError: a name is not a project or an experiment, in one of them nothing is judged, or the page cannot be
            written.
    """
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: cannot be written (its folder does not exist); choose another place")
    sources = [source_of(root, name) for name in names] if names else [workspace(root)]
    rows: list[Row] = []
    for source in sources:
        own = rows_of(source, every_network)
        if not own:
            gone = "" if source.families is None else ", or its results are no longer in DVC's cache"
            raise InputError(f"{source.title or root / 'data'}: nothing is judged yet{gone}; dvc repro")
        rows += own
    kept, notes = comparable(rows)
    if not names:
        notes += outdated_notes(root, present_family(root))
    notes += hardly_learnt_notes({row.name: row.metrics.get("mAP50") for row in kept})
    log(as_text(compare_table(kept)))
    for note in notes:
        log(note)
    if any(row.detection_seconds is not None for row in kept):
        log("detection: the time of the whole stage, its start included, divided by the number of images")
    page = compare_page(kept, notes, root)
    try:
        write_text(out, page)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror}); choose another place") from error
    log(f"{out}: {len(page) / 1e6:.1f} MB, open it in a browser")
