"""How a table is written: its parts, encoding, separator and header, as they are found at its start."""

from __future__ import annotations

import codecs
import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pipeline.datasets.folders import look_below
from pipeline.datasets.image_suffixes import is_image_name
from pipeline.datasets.records import XYXY, is_file, one_line, to_float
from pipeline.datasets.table_roles import SIDES, roles_of
from pipeline.runtime.errors import InputError

_BLOCK_ROWS, _BLOCK_BYTES = 16_384, 1 << 18  # of Parquet and of CSV
_HEAD = 1 << 16  # bytes in which the header and the first row lie
_PARQUET = (".parquet", ".parq", ".pq")
_CSV = (".csv", ".tsv", ".csv.gz")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_BOMS = {codecs.BOM_UTF8: "utf8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# Columns of tables without a header, by their number: those of keras-retinanet, and of SKU-110K.
_HEADERLESS = {6: ("file", *XYXY.names, "class"), 8: ("file", *XYXY.names, "class", *SIDES)}


@dataclass
class TableForm:
    """A table's parts, how each is written, and its columns.

    Attributes:
        path: of the table, a file or a folder of parts.
        parts: its files, in the order of their rows.
        names: of its columns as they stand, repeated ones included.
        constant: part -> columns that its path gives, as in split=train/0.parquet.
        said: how it differs from the documented form.
    """

    path: Path
    parts: list[Path]
    names: list[str] = field(default_factory=list)
    encoding: str = "utf8"
    separator: str = ","
    skipped: int = 0  # lines before the header
    has_header: bool = True
    constant: Mapping[Path, Mapping[str, str]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @property
    def is_parquet(self) -> bool:
        """Whether its parts are Parquet, and not CSV."""
        return self.parts[0].suffix.lower() in _PARQUET

    def read(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The named columns, some thousand rows at a time; those of CSV are texts.

        Raises:
            InputError: while iterating, where a part is damaged or has other columns than the first.
        """
        for part in self.parts:
            own = {name: value for name, value in self.constant.get(part, {}).items() if name in names}
            try:
                for block in self._blocks(part, [name for name in names if name not in own]):
                    for name, value in own.items():
                        block = block.append_column(name, pa.array([value] * block.num_rows, pa.string()))
                    yield block
            except (pa.ArrowException, OSError, ValueError) as error:
                raise _unreadable(part, error) from error

    def _blocks(self, part: Path, names: list[str]) -> Iterator[pa.RecordBatch]:
        if self.is_parquet:
            with pq.ParquetFile(part) as file:
                # pyarrow's own data sets take the first part's columns, and lose those that it lacks without a word.
                own, first = (roles_of(there, XYXY).columns for there in (file.schema_arrow.names, self.names))
                differing = {*own} ^ ({*first} - {*self.constant.get(part, {})})
                if differing:
                    raise InputError(
                        f"{part}: has other columns than {self.parts[0].name} ({min(differing)}); give all the same"
                    )
                yield from file.iter_batches(_BLOCK_ROWS, columns=names)
            return
        texts = pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, include_columns=names
        )
        with pacsv.open_csv(
            part, read_options=self._options(), parse_options=self._parsing(), convert_options=texts
        ) as (reader):
            yield from reader

    def _options(self) -> pacsv.ReadOptions:
        names = None if self.has_header else self.names
        return pacsv.ReadOptions(
            use_threads=False,
            block_size=_BLOCK_BYTES,
            encoding=self.encoding,
            skip_rows=self.skipped,
            column_names=names,
        )

    def _parsing(self) -> pacsv.ParseOptions:
        return pacsv.ParseOptions(delimiter=self.separator)

    def look(self) -> None:
        """Find how the first part is written, and its columns.

        Raises:
            InputError: it is no such table.
        """
        part = self.parts[0]
        try:
            if self.is_parquet:
                with pq.ParquetFile(part) as file:
                    self.names = list(file.schema_arrow.names)
            else:
                self._look_at_text(part)
                with pacsv.open_csv(part, read_options=self._options(), parse_options=self._parsing()) as reader:
                    self.names = list(reader.schema.names)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(part, error) from error
        self.names += [name for name in self.constant.get(part, {}) if name not in self.names]

    def _look_at_text(self, part: Path) -> None:
        with pa.input_stream(str(part)) as file:
            head = file.read(_HEAD)
        if head.startswith(b"PK\x03\x04"):
            raise InputError(f"{part}: is an Excel workbook; save its sheet as CSV, in UTF-8")
        self.encoding = next((name for bom, name in _BOMS.items() if head.startswith(bom)), _without_bom(head))
        lines = head.decode(self.encoding, errors="replace").removeprefix("\ufeff").splitlines()
        if lines and lines[0].strip().strip('"').lower().startswith("sep=") and len(lines) > 1:
            self.skipped = 1  # as Excel writes for itself
        rows = {
            separator: next(csv.reader([lines[self.skipped]], delimiter=separator), []) if lines else []
            for separator in _SEPARATORS
        }
        known = {separator: _known(row) for separator, row in rows.items()}
        self.separator = max(rows, key=lambda separator: known[separator])  # the first of equals
        first = rows[self.separator]
        if self.separator != ",":
            self.said.append(f"{_SEPARATORS[self.separator]} between columns")
        if first and is_image_name(first[0].strip()):
            self._take_no_header(part, first)

    def _take_no_header(self, part: Path, first: Sequence[str]) -> None:
        names = _HEADERLESS.get(len(first))
        if names is None or not _has_box(first):
            raise InputError(
                f"{part}: has no header, and its rows are not image, x1, y1, x2, y2, class; write a first line such as "
                "file,split,class,x1,y1,x2,y2"
            )
        self.names, self.has_header = [*names], False
        self.said.append(f"no header, so columns are {', '.join(names)}")


def find_table(path: Path, key: str) -> TableForm:
    """The form of the table at a path, which is a CSV or Parquet file, or a folder of Parquet parts.

    Raises:
        InputError: there is none, or it cannot be read; `key` names the parameter to correct.
    """
    if os.path.isdir(path):
        form = _parts_of(path, key)
    elif not is_file(path):
        raise InputError(f"{path}: no such table; set {key} to one below the data root")
    else:
        form = TableForm(path, [path])
    form.look()
    return form


def has_split(path: Path) -> bool:
    """Whether the table of `dataset.table.file` has a column of splits.

    Raises:
        InputError: as `find_table`.
    """
    return "split" in roles_of(find_table(path, "dataset.table.file").names, XYXY).columns


def is_table_name(text: str) -> bool:
    """Whether an entry of a split names a table, and no value of column split; "./" is neither."""
    return text.lower().endswith((*_PARQUET, *_CSV)) or (text.endswith("/") and text.strip("./") != "")


def _parts_of(folder: Path, key: str) -> TableForm:
    """A folder of Parquet files, such as Spark writes, and what key=value in their folders' names says."""
    files = [Path(name) for name in look_below(folder).files]
    parts = [file for file in files if file.suffix.lower() in _PARQUET and file.name[0] not in "._"]
    if not parts:
        raise InputError(f"{folder}: holds no Parquet file; set {key} to a table below the data root")
    constant = {}
    for part in parts:
        pairs = (name.partition("=") for name in part.relative_to(folder).parts[:-1])
        constant[part] = {key: unquote(value) for key, equal, value in pairs if equal}
    return TableForm(folder, parts, constant=constant)


def _known(row: Sequence[str]) -> int:
    """How many columns of a first line are known, whether it is a header or the first row of a table without one."""
    if row and is_image_name(row[0].strip()):
        return len(row) if len(row) in _HEADERLESS else 0
    return len(roles_of(row, XYXY).columns)


def _has_box(row: Sequence[str]) -> bool:
    numbers = [text.strip().replace(",", ".") for text in row[1:5]]
    return not any(numbers) or all(to_float(number) is not None for number in numbers)


def _without_bom(head: bytes) -> str:
    """Unicode's encoding of a head without a mark, by where the zeros of its ASCII characters are."""
    start = head[:4]
    if len(start) == 4 and start[1] == start[3] == 0 and start[0] and start[2]:
        return "utf-16-le"
    if len(start) == 4 and start[0] == start[2] == 0 and start[1] and start[3]:
        return "utf-16-be"
    return "utf8"


def _unreadable(path: Path, error: Exception) -> InputError:
    why = one_line(error)
    if "invalid UTF8" in why or isinstance(error, UnicodeError):
        return InputError(f"{path}: is not UTF-8 text ({why}); save it as CSV in UTF-8")
    return InputError(f"{path}: not a readable {path.suffix[1:] or 'CSV'} table ({why}); fix it")
