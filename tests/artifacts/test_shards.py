"""Shards: equal bytes, single members by offset, and no damage that goes unnoticed."""

from __future__ import annotations

import gc
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts.shards import IMAGES_PER_SHARD, ShardReader, ShardWriter, images_per_shard
from pipeline.runtime.errors import InputError

ARRAYS = {
    "floats": np.linspace(-1, 1, 24, dtype=np.float16).reshape(2, 3, 4),
    "bytes": np.arange(7, dtype=np.uint8),
    "bools": np.array([[True], [False]]),
    "column order": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
    "strided": np.arange(20, dtype=np.int64)[::3],
    "no elements": np.zeros((0, 4), np.float32),
    "a/b ü": np.ones(2, np.float32),
}


def write(folder: Path, images: int = 5, per_shard: int = 2) -> list[str]:
    with ShardWriter(folder, "maps", images_per_shard=per_shard) as writer:
        return [writer.add({f"{i}": np.full((2, 2), i, np.float32)}) for i in range(images)]


def test_every_array_comes_back_as_it_was(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, "maps") as writer:
        shard = writer.add(ARRAYS)
    reader = ShardReader(tmp_path)
    for name, array in ARRAYS.items():
        found = reader.read(shard, name)
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert np.array_equal(found, array)


def test_numpy_opens_a_shard_as_usual(tmp_path: Path) -> None:
    names = write(tmp_path)
    with np.load(tmp_path / names[0]) as archive:
        assert {name: archive[name].tolist() for name in archive.files} == {"0": [[0, 0]] * 2, "1": [[1, 1]] * 2}


def test_a_shard_that_numpy_wrote_in_column_order_is_read_as_numpy_reads_it(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(6).reshape(2, 3))
    np.savez(tmp_path / "maps-00000.npz", a=array)
    assert np.array_equal(ShardReader(tmp_path).read("maps-00000.npz", "a"), array)


def test_images_are_told_the_shard_that_will_hold_them(tmp_path: Path) -> None:
    names = write(tmp_path)
    assert names == ["maps-00000.npz"] * 2 + ["maps-00001.npz"] * 2 + ["maps-00002.npz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(set(names))
    reader = ShardReader(tmp_path)
    assert [float(reader.read(name, f"{i}")[0, 0]) for i, name in enumerate(names)] == [0, 1, 2, 3, 4]


def test_equal_arrays_give_equal_bytes_and_no_date_is_stored(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
        assert {info.date_time for info in zipfile.ZipFile(path).infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_an_exception_leaves_whole_shards_only(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ShardWriter(tmp_path, "maps", images_per_shard=2) as writer:
        for i in range(3):
            writer.add({f"{i}": np.ones(3)})
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["maps-00000.npz"]


def test_an_array_that_cannot_be_stored_leaves_no_partial_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays"), ShardWriter(tmp_path, "maps") as writer:
        writer.add({"good": np.ones(3), "bad": np.array([{}])})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files through /proc")
def test_no_more_shards_stay_open_than_asked_for_and_none_when_the_reader_is_gone(tmp_path: Path) -> None:
    names = write(tmp_path, images=12, per_shard=1)

    def open_shards() -> set[str]:
        links = [Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd")]
        paths = [Path(os.readlink(link)) for link in links if link.is_symlink()]
        return {path.name for path in paths if path.parent == tmp_path}

    reader = ShardReader(tmp_path, open_shards=3)
    for i in [*range(12), 9, 0]:
        assert float(reader.read(names[i], f"{i}")[0, 0]) == i
    assert open_shards() == {names[11], names[9], names[0]}  # 10 was the longest unused
    del reader
    gc.collect()
    assert open_shards() == set()


class TestDamagedShard:
    """Each damage ends in one line that names the file and the stage to run again."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        folder = tmp_path / "features"
        folder.mkdir()
        return folder / write(folder)[0]

    @staticmethod
    def fault(path: Path, member: str = "1") -> str:
        with pytest.raises(InputError) as caught:
            ShardReader(path.parent).read(path.name, member)
        message = str(caught.value)
        assert "\n" not in message
        assert message.startswith(f"{path}: ")
        assert message.endswith("rerun the stage that writes it (dvc repro features)")
        return message

    def test_missing(self, path: Path) -> None:
        path.unlink()
        assert "no such shard" in self.fault(path)

    def test_without_the_member(self, path: Path) -> None:
        assert "no member '7'" in self.fault(path, member="7")

    def test_truncated_anywhere(self, path: Path) -> None:
        whole = path.read_bytes()
        for left in range(len(whole)):
            path.write_bytes(whole[:left])
            self.fault(path)

    def test_one_byte_of_a_member_flipped(self, path: Path) -> None:
        whole = path.read_bytes()
        at = whole.index(np.full(4, 1, np.float32).tobytes())
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert "member '1' is damaged (checksum differs)" in self.fault(path)
        assert float(ShardReader(path.parent).read(path.name, "0")[0, 0]) == 0

    @pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
    def test_any_byte_flipped_is_told_or_does_no_harm(self, path: Path, flip: int) -> None:
        whole, told = path.read_bytes(), 0
        for at in range(len(whole)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
            try:
                found = ShardReader(path.parent).read(path.name, "1")
            except InputError as error:
                told += 1
                assert "\n" not in str(error)
            else:
                assert (found.dtype, found.tolist()) == (np.float32, [[1, 1], [1, 1]])
        assert told > 100

    @pytest.mark.parametrize(
        ("replace", "told"),
        [
            (lambda path: path.write_bytes(b"no archive " * 99), "not a readable npz shard"),
            (lambda path: np.savez(path, **{"1": np.array([{}])}), "holds Python objects"),
            (lambda path: np.savez_compressed(path, **{"1": np.zeros(999)}), "outside of the file"),
            (lambda path: zipfile.ZipFile(path, "w").writestr("1.npy", b"no array at all"), "is not a NumPy array"),
        ],
        ids=["text", "pickles", "compressed", "other members"],
    )
    def test_foreign(self, path: Path, replace: Callable[[Path], object], told: str) -> None:
        replace(path)
        assert told in self.fault(path)


def test_small_data_sets_have_smaller_shards() -> None:
    sizes = {count: images_per_shard(count) for count in (0, 1, 16, 300, 1024, 1025, 1333, 4095, 4096, 117_266)}
    assert list(sizes.values()) == [16, 16, 16, 16, 16, 17, 21, 64, 64, 64]


@given(st.integers(1000, 10**6), st.integers(2, 4))
def test_processes_get_nearly_equal_shares(images: int, processes: int) -> None:
    size = images_per_shard(images)
    assert size <= IMAGES_PER_SHARD
    shards = [range(images)[start : start + size] for start in range(0, images, size)]
    shares = [sum(map(len, shards[number::processes])) for number in range(processes)]
    assert sum(shares) == images
    assert max(shares) <= 1.07 * images / processes
