"""Equal photos under two names across splits are found by their bytes, in every format."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.datasets import same_content
from pipeline.datasets.same_content import copies_in_later_splits
from pipeline.runtime.errors import InputError
from tests.faults.trees import KINDS, plant, read

KIND = "same_content_in_train_and_test"


def images(root: Path) -> tuple[Path, Path]:
    """The image of train and that of test."""
    found = {path.stem: path for path in root.rglob("*") if path.suffix in (".png", ".jpg")}
    return found["a"], found["b"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_test_photo_in_train_under_another_name_is_a_finding(tmp_path: Path, kind: str) -> None:
    first, second = images(plant(kind, tmp_path))
    assert KIND not in {finding.kind for finding in read(kind, tmp_path)[1]}
    first.write_bytes(second.read_bytes())
    found, findings = read(kind, tmp_path)
    assert len(found) == 2
    told = [(f.file, f.detail, f.action) for f in findings if f.kind == KIND]
    names = [path.relative_to(tmp_path).as_posix() for path in (first, second)]
    assert told == [(f"raw/{names[0]}", f"the same bytes as {names[1]}, which is in test", "kept")]
    left, findings = read(kind, tmp_path, **{KIND: "drop"})
    assert [image.split for image in left] == ["test"] and KIND in {finding.kind for finding in findings}
    with pytest.raises(InputError, match=r"the same bytes as .*; remove one from its split, or set dataset\.findings"):
        read(kind, tmp_path, **{KIND: "error"})
    assert KIND not in {finding.kind for finding in read(kind, tmp_path, **{KIND: "allow"})[1]}


def test_copies_count_across_splits_only_and_to_the_last_byte(tmp_path: Path) -> None:
    body = os.urandom(50_000)
    almost = bytearray(body)
    almost[20_000] ^= 1  # where no sample is taken
    for name, content in {
        **dict.fromkeys("abcd", body),
        "almost": bytes(almost),
        "empty": b"",
        "empty2": b"",
        "short": body[:-1],
    }.items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "pipe")
    listed = [
        *(("a", "train"), ("b", "train"), ("c", "val"), ("d", "test"), ("d", "train")),
        *(("almost", "test"), ("empty", "train"), ("empty2", "test"), ("short", "test")),
        *(("pipe", "test"), ("missing", "test"), ("x" * 300, "test"), ("nul\0", "test")),
    ]
    copies = copies_in_later_splits(tmp_path, listed)
    assert copies == {
        ("a", "train"): ("c", "val"),
        ("b", "train"): ("c", "val"),
        ("c", "val"): ("d", "test"),
        ("d", "train"): ("c", "val"),
    }


def test_files_of_their_own_size_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1, 2):
        (tmp_path / str(size)).write_bytes(b"x" * size)
    monkeypatch.setattr(same_content, "_samples", lambda path: pytest.fail(f"{path} is read"))
    assert copies_in_later_splits(tmp_path, [("1", "train"), ("2", "test")]) == {}
