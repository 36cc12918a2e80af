"""Work in chunks: whenever it is killed, the next run ends with the bytes of an undisturbed one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.artifacts.atomic import UNFINISHED, atomic_folder
from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.maps import FEATURE_IMAGES
from pipeline.artifacts.shards import ShardReader
from pipeline.artifacts.tables import TableWriter, box_columns, read_columns
from pipeline.runtime import stopping
from pipeline.runtime.errors import InputError
from tests.killed import Killed

IDS = [f"{place:03d}" for place in range(11)]
PER_CHUNK = 4  # chunks of 4, 4 and 3


def files_of(folder: Path) -> dict[str, str]:
    """The hash of every file of a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows_of(image_id: str) -> dict[str, object]:
    """As many rows as the id says, some images none."""
    count = int(image_id) % 4
    boxes = np.random.default_rng(int(image_id)).uniform(0, 99, (count, 4))
    return {"label": np.arange(count) + 1, "score": np.linspace(1, 0, count), **box_columns(boxes)}


def work_through(folder: Path, log: list[str] | None = None, ids: list[str] = IDS) -> list[str]:
    """The images worked on in this run."""
    said = log if log is not None else []
    done = []
    with ChunkedWork(folder, ids, said.append, images_per_chunk=PER_CHUNK) as work:
        detections = work.table("detections.parquet", DETECTIONS)
        index = work.table("images.parquet", FEATURE_IMAGES)
        maps = work.shards("maps")
        for image_id in work.through(work.missing):
            done.append(image_id)
            shard = maps.add({image_id: np.full((2, 3), int(image_id), np.float32)})
            size = dict.fromkeys(("width", "height", "feature_height", "feature_width"), 3)
            index.write({"image_id": image_id, "view": 0, **size, "shard": shard})
            detections.write({"image_id": image_id, **rows_of(image_id)})
        told = [int(label) for columns in detections.groups() for label in columns["label"]]
        (folder / "labels.json").write_text(json.dumps(told))
    return done


@contextmanager
def killed_at(write: int, torn: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Die at the n-th file that is renamed, before it or after it; with no clearing up, as of a killed process."""
    real_replace, real_unlink = os.replace, Path.unlink
    renamed: list[str] = []

    def replace(source: Path, target: Path) -> None:
        if len(renamed) == write and torn:
            raise Killed
        renamed.append(Path(target).name)
        real_replace(source, target)
        if len(renamed) == write + 1:
            raise Killed

    monkeypatch.setattr("pipeline.artifacts.atomic.os.replace", replace)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    try:
        yield renamed
    finally:
        monkeypatch.setattr("pipeline.artifacts.atomic.os.replace", real_replace)
        monkeypatch.setattr(Path, "unlink", real_unlink)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert work_through(folder) == IDS
    return files_of(folder)


def test_the_finished_folder_holds_the_outputs_only(undisturbed: dict[str, str]) -> None:
    shards = [f"maps-{index:05d}.npz" for index in range(3)]
    assert sorted(undisturbed) == sorted(["detections.parquet", "images.parquet", "labels.json", *shards])


def test_all_can_be_read_back(tmp_path: Path) -> None:
    work_through(tmp_path)
    index = read_columns(tmp_path / "images.parquet", FEATURE_IMAGES)
    assert list(index["image_id"]) == IDS
    reader, rows = ShardReader(tmp_path), ImageRows(tmp_path / "detections.parquet", DETECTIONS)
    for image_id, shard in zip(IDS, index["shard"], strict=True):
        assert float(reader.read(shard, image_id)[0, 0]) == int(image_id)
        found, expected = rows[image_id, False], rows_of(image_id)
        assert all(np.array_equal(found[name], np.float32(expected[name])) for name in ("score", "x1", "y2"))


def test_a_table_of_one_chunk_is_what_the_table_writer_writes(tmp_path: Path) -> None:
    work_through(tmp_path, ids=IDS[:PER_CHUNK])
    with TableWriter(tmp_path / "direct.parquet", DETECTIONS) as table:
        for image_id in IDS[:PER_CHUNK]:
            table.write({"image_id": image_id, **rows_of(image_id)})
    assert (tmp_path / "direct.parquet").read_bytes() == (tmp_path / "detections.parquet").read_bytes()


def test_row_groups_end_with_chunks_and_stay_as_small_as_those_of_the_table_writer(tmp_path: Path) -> None:
    with ChunkedWork(tmp_path, IDS, images_per_chunk=PER_CHUNK) as work:
        table = work.table("detections.parquet", DETECTIONS)
        for image_id in work.through(work.missing):
            boxes = box_columns(np.zeros((40_000, 4)))
            table.write({"image_id": image_id, "label": 1, "score": 0.5, **boxes})
    file = pq.ParquetFile(tmp_path / "detections.parquet")
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    assert sizes == [80_000] * 5 + [40_000]
    assert table.rows == sum(sizes)


def test_without_images_the_tables_are_there_and_empty(tmp_path: Path) -> None:
    assert work_through(tmp_path, ids=[]) == []
    assert sorted(files_of(tmp_path)) == ["detections.parquet", "images.parquet", "labels.json"]
    assert len(read_columns(tmp_path / "images.parquet", FEATURE_IMAGES)["image_id"]) == 0


def test_a_signal_whose_exception_a_library_dropped_stops_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(stopping.Stopped), ChunkedWork(tmp_path, IDS, images_per_chunk=PER_CHUNK) as work:
        for image_id in work.through(work.missing):
            if image_id == IDS[1]:
                monkeypatch.setattr(stopping, "_asked", [stopping._Asked(signal.SIGTERM, 0.0)])
    assert image_id == IDS[1]


@settings(deadline=None, max_examples=40)
@given(kills=st.lists(st.tuples(st.integers(0, 14), st.booleans()), max_size=4))
def test_killed_at_any_write_any_number_of_times(undisturbed: dict[str, str], kills: list[tuple[int, bool]]) -> None:
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as monkeypatch:
        folder = Path(name)
        for write, torn in kills:
            try:
                with killed_at(write, torn, monkeypatch):
                    work_through(folder)
            except Killed:
                continue
            assert files_of(folder) == undisturbed
            shutil.rmtree(folder)
            folder.mkdir()
        work_through(folder)
        assert files_of(folder) == undisturbed


def until_second_chunk(folder: Path) -> None:
    """Leave a folder with the first two chunks complete."""
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        pytest.raises(Killed),
        killed_at(7, False, monkeypatch) as renamed,
    ):
        work_through(folder)
    assert renamed[-1] == "chunk-00001.json"


def test_goes_on_after_the_complete_chunks_and_says_so(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    until_second_chunk(tmp_path)
    said: list[str] = []
    assert work_through(tmp_path, said) == IDS[8:]
    assert said == ["resumes after 8 of 11 images"]
    assert files_of(tmp_path) == undisturbed


@pytest.mark.parametrize(
    "file",
    ["maps-00000.npz", f"{UNFINISHED}/detections-00000.parquet", f"{UNFINISHED}/chunk-00000.json"],
)
def test_what_is_damaged_anywhere_is_done_again(tmp_path: Path, undisturbed: dict[str, str], file: str) -> None:
    until_second_chunk(tmp_path / "half")
    whole = (tmp_path / "half" / file).read_bytes()
    places = np.linspace(0, len(whole) - 1, 25).astype(int)
    damaged = [whole[:at] for at in places] + [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in places]
    again = 0
    for place, content in enumerate(damaged):
        folder = tmp_path / str(place)
        shutil.copytree(tmp_path / "half", folder)
        (folder / file).write_bytes(content)
        again += work_through(folder) == IDS[:4] + IDS[8:]
        assert files_of(folder) == undisturbed
    assert again == len(damaged)


def test_a_missing_file_is_done_again(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    until_second_chunk(tmp_path)
    (tmp_path / "maps-00001.npz").unlink()
    assert work_through(tmp_path) == IDS[4:]
    assert files_of(tmp_path) == undisturbed


def test_chunks_of_other_images_are_not_taken_over(tmp_path: Path) -> None:
    until_second_chunk(tmp_path)
    other = [IDS[0], *IDS[2:]]
    assert work_through(tmp_path, ids=other) == other


def test_an_error_leaves_the_complete_chunks_and_no_temporary_file(tmp_path: Path) -> None:
    def failing() -> Iterator[str]:
        yield from IDS[:5]
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), ChunkedWork(tmp_path, IDS, images_per_chunk=PER_CHUNK) as work:
        table = work.table("detections.parquet", DETECTIONS)
        for image_id in work.through(failing()):
            table.write({"image_id": image_id, **rows_of(image_id)})
    left = [f"{UNFINISHED}/chunk-00000.json", f"{UNFINISHED}/detections-00000.parquet"]
    assert sorted(files_of(tmp_path)) == left


def test_images_left_out_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="images are left"), ChunkedWork(tmp_path, IDS) as work:
        next(work.through(IDS))


class TestFolder:
    """`atomic_folder` with a key."""

    @staticmethod
    def leave_half(path: Path, key: str | None, error: type[BaseException]) -> None:
        with pytest.raises(error), atomic_folder(path, key) as folder:
            (folder / "half").write_text("half")
            raise error

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError, MemoryError])
    def test_goes_on_under_the_same_key(self, tmp_path: Path, error: type[BaseException]) -> None:
        self.leave_half(tmp_path / "out", "a", error)
        with atomic_folder(tmp_path / "out", "a") as folder:
            assert (folder / "half").exists()
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        assert sorted(files_of(tmp_path / "out")) == ["half"]

    def test_its_chunks_are_kept_until_it_is_published(self, tmp_path: Path, undisturbed: dict[str, str]) -> None:
        with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "out", "a") as folder:
            assert work_through(folder) == IDS
            raise KeyboardInterrupt
        with atomic_folder(tmp_path / "out", "a") as folder:
            assert work_through(folder) == []
        assert files_of(tmp_path / "out") == undisturbed

    @pytest.mark.parametrize("key", ["b", None])
    def test_starts_afresh_under_another(self, tmp_path: Path, key: str | None) -> None:
        self.leave_half(tmp_path / "out", "a", KeyboardInterrupt)
        with atomic_folder(tmp_path / "out", key) as folder:
            assert not (folder / "half").exists()
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["out"]

    def test_bad_input_leaves_nothing(self, tmp_path: Path) -> None:
        self.leave_half(tmp_path / "out", "a", InputError)
        assert list(tmp_path.iterdir()) == []

    def test_what_was_left_without_a_key_is_not_gone_on_with(self, tmp_path: Path) -> None:
        (tmp_path / ".out.partial").mkdir()
        (tmp_path / ".out.partial" / "half").write_text("half")
        with atomic_folder(tmp_path / "out", "a") as folder:
            assert not (folder / "half").exists()

    def test_a_former_folder_that_a_killed_run_had_put_aside_is_removed(self, tmp_path: Path) -> None:
        (tmp_path / ".out.retired").mkdir()
        with atomic_folder(tmp_path / "out"):
            pass
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
