"""Rows of plain tables, read by their offset: those of the whole table, none decoded beside them, damage noticed."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts.fields import table_schema
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.plain_chunks import plain_options
from pipeline.artifacts.proposal_targets import PROPOSAL_TARGETS, ProposalTargets
from pipeline.artifacts.tables import Columns, TableWriter, read_columns
from pipeline.runtime.errors import InputError

IMAGES, VIEWS = 40, 2
NUMBERS = [name for name in PROPOSAL_TARGETS.names if name not in ("image_id", "view")]


def targets_of(image: int, view: int) -> Columns:
    """Columns of one view, whose values and number tell where they belong."""
    draw = np.random.default_rng([image, view])
    count = 300 + 7 * image + view
    kinds = {name: PROPOSAL_TARGETS.field(name).type.to_pandas_dtype() for name in NUMBERS}
    return {name: draw.integers(-30_000, 30_000, count).astype(kind) for name, kind in kinds.items()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of two row groups."""
    folder = tmp_path_factory.mktemp("targets") / "proposal_targets_step2"
    folder.mkdir()
    with TableWriter(folder / "proposal_targets.parquet", PROPOSAL_TARGETS) as table:
        for image in range(IMAGES):
            for view in range(VIEWS):
                table.write({"image_id": f"{image:04d}", "view": view, **targets_of(image, view)})
    return folder / "proposal_targets.parquet"


@pytest.fixture
def path(written: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    folder = tmp_path / written.parent.name
    folder.mkdir()
    (folder / written.name).write_bytes(written.read_bytes())
    return folder / written.name


def in_random_order() -> list[Entry]:
    entries = [Entry(f"{image:04d}", view) for image in range(IMAGES) for view in range(VIEWS)]
    return [entries[place] for place in np.random.default_rng(0).permutation(len(entries))]


def test_rows_of_any_view_in_any_order_are_those_of_the_whole_table(written: Path) -> None:
    whole, rows = read_columns(written, PROPOSAL_TARGETS), ImageRows(written, PROPOSAL_TARGETS)
    assert pq.ParquetFile(written).num_row_groups > 1
    for image_id, view in in_random_order():
        own = (whole["image_id"] == image_id) & (whole["view"] == view)
        found = rows[image_id, view]
        assert list(found) == NUMBERS
        for name, values in found.items():
            assert values.dtype == whole[name].dtype
            assert np.array_equal(values, whole[name][own]), (image_id, view, name)


def test_no_row_is_decoded_but_ids_and_views_and_these_once(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[tuple[int, list[str]]] = []
    original = pq.ParquetFile.read_row_group

    def noted(self: pq.ParquetFile, group: int, columns: list[str], **options: Any) -> pa.Table:
        decoded.append((group, columns))
        return original(self, group, columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", noted)
    targets = ProposalTargets(written.parent)
    for entry in in_random_order():
        assert len(targets[entry].labels) > 0
    groups = range(pq.ParquetFile(written).num_row_groups)
    assert sorted(decoded) == [(group, ["image_id", "view"]) for group in groups]


def test_what_was_read_is_not_held(written: Path) -> None:
    targets = ProposalTargets(written.parent)
    entries = in_random_order()
    tracemalloc.start()
    try:
        arrow = pa.total_allocated_bytes()
        for entry in entries:
            targets[entry]
        held, most = tracemalloc.get_traced_memory()
        assert pa.total_allocated_bytes() - arrow < 10_000
    finally:
        tracemalloc.stop()
    assert held < 60_000  # of 1.6 MB
    assert most < 1_000_000  # a column or two of a row group at a time


def test_a_table_of_an_earlier_version_is_read_all_the_same(written: Path, tmp_path: Path) -> None:
    whole = pq.read_table(written)
    pq.write_table(whole.replace_schema_metadata({"schema_version": "2"}), tmp_path / "old", row_group_size=len(whole))
    new, old = ImageRows(written, PROPOSAL_TARGETS), ImageRows(tmp_path / "old", PROPOSAL_TARGETS)
    for entry in in_random_order()[:9]:
        for name, values in new[entry].items():
            assert np.array_equal(values, old[entry][name])


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zstd"},
        {"use_dictionary": True},
        {"data_page_size": 1 << 10, "max_rows_per_page": 100},
        {"data_page_version": "2.0"},
        {"write_page_checksum": False},
        {"use_byte_stream_split": ["dx"], "use_dictionary": False},
    ],
    ids=["compressed", "encoded", "several pages", "pages of version 2", "no checksums", "split bytes"],
)
def test_a_table_that_is_called_plain_and_is_not_is_decoded(
    written: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    whole = pq.read_table(written)
    stored = plain_options() | {"write_page_checksum": True} | options
    pq.write_table(whole, tmp_path / "other", row_group_size=len(whole), **stored)
    new, other = ImageRows(written, PROPOSAL_TARGETS), ImageRows(tmp_path / "other", PROPOSAL_TARGETS)
    for entry in in_random_order()[:9]:
        for name, values in new[entry].items():
            assert np.array_equal(values, other[entry][name])


def test_columns_of_text_are_decoded(tmp_path: Path) -> None:
    schema = table_schema(("image_id", pa.string(), "id"), ("shard", pa.string(), "file"), plain=True)
    with TableWriter(tmp_path / "t", schema) as table:
        table.write({"image_id": "a", "shard": ["one"]})
        table.write({"image_id": "b", "shard": ["two", "three"]})
    assert ImageRows(tmp_path / "t", schema)["b", 0]["shard"].tolist() == ["two", "three"]


def _flip(path: Path, group: int, name: str, ahead: int) -> None:
    chunk = pq.ParquetFile(path).metadata.row_group(group).column(PROPOSAL_TARGETS.get_field_index(name))
    damaged = bytearray(path.read_bytes())
    damaged[chunk.data_page_offset + ahead] ^= 1
    path.write_bytes(damaged)


@pytest.mark.parametrize("name", ["rank", "label", "dh"])
@pytest.mark.parametrize("ahead", [1, 12, 5_000])
def test_one_flipped_byte_of_header_or_values_ends_in_one_line_with_the_remedy(
    path: Path, name: str, ahead: int
) -> None:
    _flip(path, 1, name, ahead)
    targets = ProposalTargets(path.parent)
    assert len(targets[Entry("0000", 0)].labels) == 300  # of another row group
    with pytest.raises(InputError) as caught:
        targets[Entry(f"{IMAGES - 1:04d}", 1)]
    message = str(caught.value)
    assert message.startswith(f"{path}: is damaged (")
    assert message.endswith("rerun the stage that writes it (dvc repro proposal_targets_step2)")
    assert "\n" not in message


def test_a_table_that_is_cut_off_while_it_is_open_ends_in_one_line_with_the_remedy(path: Path) -> None:
    targets = ProposalTargets(path.parent)
    first, last = Entry("0000", 0), Entry(f"{IMAGES - 1:04d}", 1)
    assert len(targets[first].labels) == 300
    with open(path, "r+b") as file:
        file.truncate(100)
    for entry in (first, last):
        with pytest.raises(InputError, match=r"is damaged .*dvc repro proposal_targets_step2"):
            targets[entry]
