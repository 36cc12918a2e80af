"""Parquet tables: equal bytes, whole images in a row group, look-ups, bounded memory and damaged files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.fields import SCHEMA_VERSION
from pipeline.artifacts.findings_table import FINDINGS
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.proposals import PROPOSALS
from pipeline.artifacts.tables import (
    Columns,
    TableWriter,
    box_columns,
    boxes_of,
    iterate_groups,
    open_parquet,
    read_columns,
    write_table,
)
from pipeline.runtime.errors import InputError

Rows = dict[tuple[str, bool], Columns]

COMPRESSED = PROPOSALS.with_metadata({"schema_version": SCHEMA_VERSION})
"""As tables of proposals were stored before they were plain, and as most others are."""


def proposals_of(image: int, mirrored: bool, count: int) -> Columns:
    """Columns of one image whose values tell where they belong."""
    draw = np.random.default_rng([image, mirrored])
    boxes = draw.uniform(0, 300, (count, 4)).astype(np.float32)
    return {"rank": np.arange(count), "score": draw.random(count, dtype=np.float32), **box_columns(boxes)}


def write_proposals(path: Path, counts: list[tuple[int, int]], schema: pa.Schema = PROPOSALS) -> Rows:
    """Write as many proposals for each image and its mirror as `counts` says, entry by entry as the stages do."""
    written = {}
    with TableWriter(path, schema) as table:
        for image, both in enumerate(counts):
            for mirrored, count in zip((False, True), both, strict=True):
                columns = proposals_of(image, mirrored, count)
                table.write({"image_id": f"{image:05d}", "view": int(mirrored), **columns})
                written[f"{image:05d}", mirrored] = columns
    return written


def groups_of_each_image(path: Path) -> dict[str, set[int]]:
    groups: dict[str, set[int]] = {}
    for index, columns in enumerate(iterate_groups(path, PROPOSALS)):
        for image_id in set(columns["image_id"]):
            groups.setdefault(image_id, set()).add(index)
    return groups


MANY_IMAGES = [(2, 3)] * 150
SOME_WITHOUT_ROWS = [(0 if i % 5 == 0 else 1, 2) for i in range(150)]
MANY_ROWS = [(2_000, 2_000)] * 40


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_proposals(tmp_path / name, MANY_IMAGES)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


KINDS = pa.schema({"image_id": pa.string(), "n": pa.int32(), "x": pa.float32(), "flag": pa.bool_(), "of": pa.int16()})
SCALARS: Columns = {"image_id": "one", "n": 3, "x": 0.5, "flag": True, "of": None}
WRITTEN: list[tuple[Columns, list[tuple[object, ...]]]] = [
    (SCALARS, [("one", 3, 0.5, True, None)]),
    (SCALARS | {"n": np.array([1, 2])}, [("one", 1, 0.5, True, None), ("one", 2, 0.5, True, None)]),
    (SCALARS | {"n": [4, None], "of": [None, 7]}, [("one", 4, 0.5, True, None), ("one", None, 0.5, True, 7)]),
    (SCALARS | {"n": np.array([5.0]), "x": np.float64(0.25)}, [("one", 5, 0.25, True, None)]),
    (SCALARS | {"x": np.zeros((3, 4), np.float32)[:, 2][:0]}, []),
    (SCALARS | {"flag": np.array([False, True])[::-1], "of": (1, 2)}, [("one", 3, 0.5, i == 0, i + 1) for i in (0, 1)]),
]
"""What images may write, and the rows that it stands for."""


@given(st.lists(st.sampled_from(WRITTEN)))
def test_images_may_write_scalars_lists_and_arrays_of_any_type_in_turn(written: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        with TableWriter(Path(folder) / "table.parquet", KINDS) as table:
            for columns, _ in written:
                table.write(columns)
        rows = pq.read_table(Path(folder) / "table.parquet").to_pylist()
    assert [tuple(row.values()) for row in rows] == [row for _, rows in written for row in rows]


@pytest.mark.parametrize("values", [["x\0", "y"], ["x", 1], [True, 2], [1.5, 2], [2**62 + 1, None]])
@pytest.mark.parametrize("kind", [pa.string(), pa.int64(), pa.bool_(), pa.float64()])
def test_a_list_is_converted_as_arrow_does_it(tmp_path: Path, values: list[Any], kind: pa.DataType) -> None:
    """NumPy would cut text, and take numbers for text, and whole numbers for others."""
    schema, path = pa.schema({"image_id": pa.string(), "v": kind}), tmp_path / "table.parquet"
    try:
        expected = pa.array(values, type=kind).to_pylist()
    except pa.ArrowException as error:
        with pytest.raises(type(error)) as found, TableWriter(path, schema) as table:
            table.write({"image_id": "one", "v": values})
        assert found.value.__notes__ == ["in table.parquet, column v of images one to one"]
        return
    with TableWriter(path, schema) as table:
        table.write({"image_id": "one", "v": values})
        table.write({"image_id": "two", "v": values[:1]})
    assert pq.read_table(path)["v"].to_pylist() == [*expected, expected[0]]


def test_columns_of_different_lengths_are_refused_though_the_next_image_made_up_for_it(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="columns of 1 and of 2 rows"),
        TableWriter(tmp_path / "table.parquet", KINDS) as table,
    ):
        table.write(SCALARS | {"n": [1, 2], "of": [1]})
        table.write(SCALARS | {"n": [3], "of": [2, 3]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("schema", [PROPOSALS, COMPRESSED], ids=["plain", "compressed"])
@pytest.mark.parametrize(
    "counts", [MANY_IMAGES, SOME_WITHOUT_ROWS, MANY_ROWS], ids=["many images", "some without rows", "many rows"]
)
def test_a_row_group_never_ends_between_an_image_and_its_mirror_and_every_look_up_finds_its_rows(
    tmp_path: Path, counts: list[tuple[int, int]], schema: pa.Schema
) -> None:
    path = tmp_path / "proposals.parquet"
    written = write_proposals(path, counts, schema)
    groups = groups_of_each_image(path)
    assert max(max(own) for own in groups.values()) >= 1
    assert all(len(own) == 1 for own in groups.values())
    rows = ImageRows(path, PROPOSALS)
    for entry, expected in written.items():
        found = rows[entry]
        assert set(found) == set(expected)
        for name in expected:
            assert np.array_equal(found[name], expected[name]), (entry, name)


def test_row_groups_stay_small(tmp_path: Path) -> None:
    path = tmp_path / "proposals.parquet"
    write_proposals(path, MANY_ROWS)
    file = pq.ParquetFile(path)
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sum(sizes) == 160_000
    assert max(sizes) <= 65_536 + 4_000


@pytest.mark.parametrize("entry", [("", False), ("00003x", False), ("99999", True), ("00003", True)])
def test_an_image_or_mirror_that_is_not_there_has_no_rows(tmp_path: Path, entry: tuple[str, bool]) -> None:
    path = tmp_path / "proposals.parquet"
    write_proposals(path, [(1, 0)] * 100)
    found = ImageRows(path, PROPOSALS)[entry]
    assert boxes_of(found).shape == (0, 4)
    assert boxes_of(found).dtype == np.float32
    assert len(found["rank"]) == 0


def test_a_table_without_rows_can_be_read_and_looked_up(tmp_path: Path) -> None:
    path = tmp_path / "proposals.parquet"
    write_proposals(path, [(0, 0)] * 3)
    assert boxes_of(ImageRows(path, PROPOSALS)["00001", False]).shape == (0, 4)
    assert boxes_of(read_columns(path, PROPOSALS)).shape == (0, 4)
    assert list(iterate_groups(path, PROPOSALS)) == []


def test_a_mirror_shares_the_rows_of_a_table_that_knows_no_mirrors(tmp_path: Path) -> None:
    path = tmp_path / "detections.parquet"
    with TableWriter(path, DETECTIONS) as table:
        table.write({"image_id": "a", "label": [1, 2], "score": [0.9, 0.8], **box_columns(np.zeros((2, 4)))})
    rows = ImageRows(path, DETECTIONS)
    assert rows["a", True]["label"].tolist() == rows["a", False]["label"].tolist() == [1, 2]


@pytest.fixture
def group_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The row groups decoded so far."""
    reads: list[int] = []
    original = pq.ParquetFile.read_row_group

    def counted(self: pq.ParquetFile, group: int, *arguments: Any, **options: Any) -> pa.Table:
        reads.append(group)
        return original(self, group, *arguments, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    return reads


def test_a_table_that_fits_the_cache_is_decoded_once(tmp_path: Path, group_reads: list[int]) -> None:
    path = tmp_path / "proposals.parquet"
    written = write_proposals(path, MANY_IMAGES, COMPRESSED)
    rows = ImageRows(path, PROPOSALS)
    for _ in range(2):
        for entry in written:
            rows[entry]
    assert group_reads == list(range(pq.ParquetFile(path).num_row_groups))


def test_decoded_groups_are_forgotten_beyond_the_cache_the_longest_unused_first(
    tmp_path: Path, group_reads: list[int]
) -> None:
    path = tmp_path / "proposals.parquet"
    write_proposals(path, [(100, 100)] * 128, COMPRESSED)
    bytes_of_a_group = 32 * 200 * 6 * 4
    two_groups = ImageRows(path, PROPOSALS, cache_bytes=2 * bytes_of_a_group)
    for image in ("00000", "00032", "00000", "00064", "00000", "00032"):
        assert len(two_groups[image, False]["rank"]) == 100
    assert group_reads == [0, 1, 2, 1]
    group_reads.clear()
    none_but_the_last = ImageRows(path, PROPOSALS, cache_bytes=0)
    for image in ("00000", "00001", "00032", "00000"):
        assert len(none_but_the_last[image, True]["rank"]) == 100
    assert group_reads == [0, 1, 0]


def test_groups_one_after_another_are_the_whole_table(tmp_path: Path) -> None:
    path = tmp_path / "proposals.parquet"
    write_proposals(path, MANY_IMAGES)
    whole, parts = read_columns(path, PROPOSALS), list(iterate_groups(path, PROPOSALS))
    assert len(parts) > 1
    for name, values in whole.items():
        assert np.array_equal(np.concatenate([part[name] for part in parts]), values)


def test_only_the_columns_asked_for_are_read(tmp_path: Path) -> None:
    write_proposals(tmp_path / "p", [(1, 1)])
    assert list(read_columns(tmp_path / "p", PROPOSALS, ["score", "rank"])) == ["score", "rank"]


def test_stored_types_units_and_version_are_the_schemas(tmp_path: Path) -> None:
    write_proposals(tmp_path / "p", [(1, 1)])
    stored = pq.read_schema(tmp_path / "p")
    assert stored.equals(PROPOSALS, check_metadata=True)
    assert stored.metadata[b"schema_version"] == SCHEMA_VERSION.encode()
    assert stored.field("x1").metadata[b"unit"] == b"px of the resized image, continuous"


@pytest.mark.parametrize("columns", [{"score": [0.5]}, {"score": [0.5, 0.5, 0.5]}, {"rank": ["one", "two"]}])
def test_rows_that_do_not_fit_leave_the_former_table_and_nothing_else(tmp_path: Path, columns: Columns) -> None:
    path = tmp_path / "proposals.parquet"
    write_proposals(path, [(1, 1)])
    before = path.read_bytes()
    with pytest.raises((pa.ArrowInvalid, ValueError)), TableWriter(path, PROPOSALS) as table:
        table.write({"image_id": "a", "view": 0, **proposals_of(0, False, 2)})
        table.write({"image_id": "b", "view": 0, **proposals_of(0, False, 2), **columns})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["proposals.parquet"]


def test_an_exception_while_writing_leaves_no_table(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), TableWriter(tmp_path / "p", PROPOSALS) as table:
        table.write({"image_id": "a", "view": 0, **proposals_of(0, False, 2)})
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_small_table_is_written_at_once(tmp_path: Path) -> None:
    columns = {"file": ["a.xml"], "object": [-1], "kind": ["k"], "detail": ["d"], "action": ["dropped"]}
    write_table(tmp_path / "findings.parquet", FINDINGS, columns)
    found = read_columns(tmp_path / "findings.parquet", FINDINGS)
    assert {name: values.tolist() for name, values in found.items()} == columns
    write_table(tmp_path / "empty.parquet", FINDINGS, {name: [] for name in columns})
    assert [len(values) for values in read_columns(tmp_path / "empty.parquet", FINDINGS).values()] == [0] * 5


class TestDamagedTable:
    """Each damage ends in one line that names the file and the stage to run again."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "proposals_step1" / "proposals.parquet"
        path.parent.mkdir()
        write_proposals(path, [(30, 30)] * 4)
        return path

    @staticmethod
    def faults(path: Path) -> Iterator[str]:
        def by_group() -> None:
            list(iterate_groups(path, PROPOSALS))

        def whole() -> None:
            read_columns(path, PROPOSALS)

        def looked_up() -> None:
            ImageRows(path, PROPOSALS)["00000", False]

        for read in (by_group, whole, looked_up):
            with pytest.raises(InputError) as caught:
                read()
            message = str(caught.value)
            assert "\n" not in message
            assert message.startswith(f"{path}: ")
            assert message.endswith("rerun the stage that writes it (dvc repro proposals_step1)")
            yield message

    def test_missing(self, path: Path) -> None:
        path.unlink()
        assert all("no such table" in message for message in self.faults(path))

    @pytest.mark.parametrize("left", [0, 3, 100, -1])
    def test_truncated(self, path: Path, left: int) -> None:
        path.write_bytes(path.read_bytes()[:left])
        assert all("not a readable Parquet file" in message for message in self.faults(path))

    def test_foreign(self, path: Path) -> None:
        path.write_bytes(b"image_id,score\na,0.5\n" * 50)
        assert all("not a readable Parquet file" in message for message in self.faults(path))

    def test_column_names_that_are_no_text(self, path: Path) -> None:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] + whole[len(whole) // 2 :].replace(b"score", b"\xffcore"))
        assert all("not a readable Parquet file" in message for message in self.faults(path))

    def test_one_byte_of_the_values_flipped(self, path: Path) -> None:
        chunk = pq.ParquetFile(path).metadata.row_group(0).column(PROPOSALS.get_field_index("x1"))
        damaged = bytearray(path.read_bytes())
        damaged[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 1
        path.write_bytes(damaged)
        assert all("damaged" in message for message in self.faults(path))

    @pytest.mark.parametrize(("metadata", "told"), [({"schema_version": "0"}, "is 0,"), (None, "is none,")])
    def test_written_under_another_schema_version(self, path: Path, metadata: dict[str, str] | None, told: str) -> None:
        pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
        expected = f"schema_version {told} this code reads {SCHEMA_VERSION}"
        assert all(expected in message for message in self.faults(path))

    def test_column_missing(self, path: Path) -> None:
        pq.write_table(pq.read_table(path).drop_columns(["score"]), path)
        assert all("column 'score' is missing" in message for message in self.faults(path))


def test_an_open_table_is_the_files_own(tmp_path: Path) -> None:
    write_proposals(tmp_path / "p", [(2, 1)])
    assert open_parquet(tmp_path / "p", PROPOSALS).metadata.num_rows == 3
