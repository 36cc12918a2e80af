"""The manifest of a stage's folder: equal bytes for equal files, and no change of a file that it does not tell."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.history import write_csv
from pipeline.artifacts.manifest import FORMAT, MANIFEST, check_folder, read_manifest, write_manifest
from pipeline.artifacts.shards import ShardReader, ShardWriter
from pipeline.artifacts.tables import write_table
from pipeline.artifacts.weights import load_part, save_parts
from pipeline.runtime.errors import InputError
from pipeline.runtime.run_key import run_key

MEMBERS = {f"{i}": np.full((2, 3), i, np.float16) for i in range(3)}


def plant(folder: Path) -> Path:
    """A folder with a file of every kind that stages write."""
    (folder / "images").mkdir(parents=True)
    (folder / "images/a.png").write_bytes(b"no image, but bytes")
    (folder / "classes.json").write_text('["background", "car"]\n')
    write_csv(folder / "history.csv", [{"iteration": 1, "loss": 0.5}, {"iteration": 2, "loss": 0.25}])
    columns = {"image_id": ["a", "b"], "label": [1, 1], "score": [0.5, 0.25]}
    columns |= {name: [1.0, 2.0] for name in ("x1", "y1", "x2", "y2")}
    write_table(folder / "detections.parquet", DETECTIONS, columns)
    save_parts(folder, {"trunk": {"w": torch.arange(6.0)}, "rpn": {"w": torch.ones(2)}})
    with ShardWriter(folder, "maps") as writer:
        writer.add(MEMBERS)
    write_manifest(folder, "features")
    return folder


FILES = (
    *("images/a.png", "classes.json", "history.csv", "detections.parquet", "model.safetensors", "maps-00000.npz"),
    MANIFEST,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return plant(tmp_path / "features")


def read_all(folder: Path) -> None:
    """What a stage does that reads the whole folder."""
    check_folder(folder)
    for part in ("trunk", "rpn"):
        load_part(folder, part)
    reader = ShardReader(folder)
    for name, array in MEMBERS.items():
        assert np.array_equal(reader.read("maps-00000.npz", name), array)


def told_of(folder: Path) -> str:
    """The one line in which the reading of a damaged folder ends."""
    with pytest.raises(InputError) as caught:
        read_all(folder)
    line = str(caught.value)
    assert "\n" not in line and line.startswith(str(folder))
    assert line.endswith("rerun the stage that writes it (dvc repro features)")
    return line


def test_it_lists_every_file_but_itself_and_the_folder_it_lies_in_is_sound(folder: Path) -> None:
    read_all(folder)
    manifest = read_manifest(folder)
    assert manifest is not None and manifest.stage == "features"
    assert set(manifest.files) == set(FILES) - {MANIFEST}
    assert {name: record.size for name, record in manifest.files.items()} == {
        name: (folder / name).stat().st_size for name in manifest.files
    }


def test_equal_files_give_equal_bytes_and_other_files_other_bytes(folder: Path, tmp_path: Path) -> None:
    written = (folder / MANIFEST).read_bytes()
    other = plant(tmp_path / "elsewhere")
    assert (other / MANIFEST).read_bytes() == written
    with ShardWriter(other, "maps") as writer:
        writer.add(MEMBERS | {"2": np.zeros((2, 3), np.float16)})
    write_manifest(other, "features")
    assert (other / "maps-00000.npz").stat().st_size == (folder / "maps-00000.npz").stat().st_size
    assert (other / MANIFEST).read_bytes() != written


def test_written_again_it_is_the_same(folder: Path) -> None:
    written = (folder / MANIFEST).read_bytes()
    write_manifest(folder, "features")
    assert (folder / MANIFEST).read_bytes() == written


def test_files_that_are_links_into_a_cache_count_as_files(folder: Path, tmp_path: Path) -> None:
    cached = tmp_path / "cached"
    (folder / "history.csv").rename(cached)
    (folder / "history.csv").symlink_to(cached)
    read_all(folder)
    cached.unlink()
    assert "history.csv: is missing" in told_of(folder)


def flip(path: Path, at: int, mask: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= mask
    path.write_bytes(bytes(content))


def flip_and_restore(folder: Path, name: str, at: int, mask: int) -> str:
    path = folder / name
    sound = path.read_bytes()
    flip(path, at, mask)
    try:
        return told_of(folder)
    finally:
        path.write_bytes(sound)


@pytest.mark.parametrize("name", FILES)
def test_a_byte_flipped_is_told_wherever_it_lies(folder: Path, name: str) -> None:
    size = (folder / name).stat().st_size
    random = np.random.default_rng(0)
    for at in {0, size - 1, *random.integers(0, size, 60).tolist()}:
        line = flip_and_restore(folder, name, at, int(random.integers(1, 256)))
        assert line.startswith(f"{folder / name}: "), at
    read_all(folder)


@pytest.mark.long
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80, 0xFF])
def test_every_byte_flipped_is_told(folder: Path, name: str, mask: int) -> None:
    for at in range((folder / name).stat().st_size):
        assert flip_and_restore(folder, name, at, mask).startswith(f"{folder / name}: "), at


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_cut_off_or_replaced_is_told(folder: Path, data: st.DataObject) -> None:
    path = folder / data.draw(st.sampled_from(FILES))
    sound = path.read_bytes()
    cut = st.integers(0, len(sound) - 1).map(lambda left: sound[:left])
    path.write_bytes(data.draw(cut | st.binary(max_size=200).filter(lambda content: content != sound)))
    try:
        assert told_of(folder).startswith(f"{path}: ")
    finally:
        path.write_bytes(sound)


def _nothing_left(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("name", sorted(set(FILES) - {MANIFEST}))
@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (Path.unlink, "is missing"),
        (_nothing_left, "is cut off, it has 0 of "),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "is too long, it has "),
        (
            lambda path: shutil.copyfile(path, path.with_name("another.csv")),
            "another.csv: is not of the stage's output",
        ),
        (lambda path: path.with_name(".hidden").touch(), ".hidden: is not of the stage's output"),
    ],
    ids=["missing", "emptied", "longer", "too many", "hidden"],
)
def test_a_file_missing_emptied_longer_or_too_many(
    folder: Path, name: str, spoil: Callable[[Path], object], expected: str
) -> None:
    spoil(folder / name)
    assert expected in told_of(folder)


def test_a_folder_without_manifest_is_told(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    with pytest.raises(InputError) as caught:
        check_folder(folder)
    assert str(caught.value) == (
        f"{folder}: has no manifest.json, so it is not what a stage of this version wrote; "
        "rerun the stage that writes it (dvc repro features)"
    )
    load_part(folder, "trunk")  # a bundle or a linked detector


def test_another_format_is_told_as_such(folder: Path) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**content, "format": FORMAT + 1}))
    assert f"manifest.json: is of format {FORMAT + 1}, this code reads {FORMAT}" in told_of(folder)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b'{"format": 1}', b'{"format": 1, "stage": "a", "files": []}', b"\xff\xfe\0"),
        b'{"format": 1, "stage": "a", "files": {"b": 1}}',
        b'{"format": 1, "stage": "a", "files": {"b": {"bytes": 1}}}',
        b'{"format": true, "stage": "features", "files": {}}',
        b"[" * 100_000,
        b'{"format": ' + b"1" * 5000 + b"}",
    ],
    ids=range(12),
)
def test_a_manifest_that_is_none_is_told(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    assert f"{folder / MANIFEST}: is damaged" in told_of(folder)


def test_another_file_of_weights_that_is_sound_in_itself_is_told(folder: Path) -> None:
    save_parts(folder, {"trunk": {"w": torch.arange(6.0) + 1}, "rpn": {"w": torch.ones(2)}})
    check_folder(folder)  # leaves weights to their reader
    with pytest.raises(InputError, match=r"model.safetensors: is damaged \(checksum differs\)"):
        load_part(folder, "trunk")


def test_a_folder_with_names_of_any_kind(tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    (folder / "images").mkdir(parents=True)
    for name in ("ü.png", "a b.png", "line\nbreak.png", os.fsdecode(b"\xff.png")):
        (folder / "images" / name).write_bytes(name.encode(errors="surrogateescape"))
    write_manifest(folder, "dataset")
    assert check_folder(folder).stage == "dataset"
    flip(folder / "images" / os.fsdecode(b"\xff.png"), 0, 1)
    with pytest.raises(InputError, match="checksum differs"):
        check_folder(folder)


def test_an_input_counts_by_its_manifest_in_the_key_of_a_run(folder: Path) -> None:
    class NoParams:
        def sections(self) -> dict[str, object]:
            return {}

    def key() -> str:
        return run_key("train", NoParams(), {"features": folder}, "code")  # type: ignore[arg-type]

    before = key()
    (folder / "history.csv").touch()
    assert key() == before
    (folder / "history.csv").write_text("iteration,loss\n")
    write_manifest(folder, "features")
    assert key() != before
