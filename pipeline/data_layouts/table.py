"""CSV or Parquet tables with one row per box: one with a column of splits, or one a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.data_layouts.folders import files_in, folders_in
from pipeline.data_layouts.layout import Layout, Miss, by_split, left_out
from pipeline.datasets.base import Split
from pipeline.datasets.records import XYXY
from pipeline.datasets.split_names import split_in
from pipeline.datasets.table_columns import Words
from pipeline.datasets.table_form import TableForm, find_table
from pipeline.datasets.table_roles import Roles, roles_of
from pipeline.runtime.errors import InputError

_MOST_FILES, _MOST_FOLDERS = 50, 20
_SUFFIXES = (".csv", ".tsv", ".parquet")


class _Table(NamedTuple):
    name: str  # below the root
    form: TableForm
    roles: Roles

    @property
    def boxes(self) -> str:
        return "xyxy" if self.roles.form is XYXY else "xywh"


def table_layouts(root: Path) -> Iterator[Layout | Miss]:
    """Tables in the root and the folders in it that the reader takes; why not of others."""
    undivided, known = [], [(name, _known(root, name)) for name in _names(root)]
    there = [name for name, table in known if isinstance(table, _Table)]
    whole: dict[Split, list[str]]
    for name, table in known:
        if isinstance(table, Miss):
            yield table
        elif "split" not in table.roles.columns:
            undivided.append(table)
        else:
            try:
                values = _values(table)
            except InputError as error:
                yield _miss(root, error)
                continue
            splits: dict[Split, list[str]] = by_split(values)
            settings = {"file": name, "boxes": table.boxes}
            others = _others(there, [name])
            if "train" in splits:
                yield Layout("table", f"a table, {name}, with a column of splits{others}", splits, settings)
            else:
                whole = {"train": values or ["train"]}
                yield Layout("table", f"a table, {name}, without splits{others}", whole, settings, labelled=True)
    yield from _one_a_split(root, undivided)
    for table in undivided:
        settings = {"file": table.name, "boxes": table.boxes}
        whole = {"train": [f"{table.name}/" if table.form.path.is_dir() else table.name]}
        what = f"a table, {table.name}, without splits{_others(there, [table.name])}"
        yield Layout("table", what, whole, settings, labelled=True)


def _others(there: Sequence[str], taken: Sequence[str]) -> str:
    """A clause on the tables of boxes that are not taken."""
    return left_out([name for name in there if name not in taken])


def _one_a_split(root: Path, undivided: list[_Table]) -> Iterator[Layout | Miss]:
    """Tables named by splits, such as train.csv, and those of folders that are, such as train/_annotations.csv."""
    found = {table.name: table for table in undivided}
    for folder in folders_in(root)[:_MOST_FOLDERS]:
        for name in files_in(root / folder, *_SUFFIXES)[:_MOST_FILES]:
            table = _known(root, f"{folder}/{name}")
            if isinstance(table, _Table):
                found[table.name] = table
            elif split_in(name) or split_in(folder):
                yield table
    splits: dict[Split, list[str]] = {}
    for name in sorted(found):
        folder, _, file = name.rpartition("/")
        split = split_in(file) or split_in(folder)
        if split:
            splits.setdefault(split, []).append(name)
    if "train" in splits and len(splits) > 1:
        others = _others(sorted(found), [name for own in splits.values() for name in own])
        yield Layout("table", f"a table a split{others}", splits, {"boxes": found[splits["train"][0]].boxes})


def _names(root: Path) -> list[str]:
    """Tables in the root, folders of Parquet parts among them; boxes.csv first."""
    folders = [name for name in folders_in(root)[:_MOST_FOLDERS] if files_in(root / name, ".parquet")]
    names = [*files_in(root, *_SUFFIXES), *(name for name in folders if not split_in(name))]
    return sorted(names, key=lambda name: (name != "boxes.csv", name))[:_MOST_FILES]


def _known(root: Path, name: str) -> _Table | Miss:
    """The table, or why it cannot be read."""
    try:
        form = find_table(root / name, "dataset.table.file")
    except InputError as error:
        return _miss(root, error)
    roles = roles_of(form.names, XYXY)
    lacking = sorted({"file", "class"} - {*roles.columns}) + ([] if roles.form else ["x1, y1, x2, y2"])
    return Miss("table", f"{name} has no column {', '.join(lacking)}") if lacking else _Table(name, form, roles)


def _miss(root: Path, error: InputError) -> Miss:
    return Miss("table", str(error).removeprefix(f"{root}/"))


def _values(table: _Table) -> list[str]:
    column = table.roles.columns["split"]
    words = Words(column, table.form.path)
    for block in table.form.read([column]):
        words.add(block.column(column))
    return [word for word in words.words if word]
