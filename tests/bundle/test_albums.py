"""Folders of photos as they are found in the wild: links, what systems leave, long names, photos that fail."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

from pipeline.bundle import Detections, Detector
from pipeline.bundle.predict import PhotoCounts, find_photos, predict
from pipeline.runtime.errors import InputError


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    (folder / "inner").mkdir(parents=True)
    for name in ("a.png", "inner/b.png"):
        write_photo(folder / name)
    return folder


def write_photo(path: Path, height: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.zeros((height, 60, 3), np.uint8))[1].tobytes())


def found_in(folder: Path, *paths: str) -> list[str]:
    album = find_photos([str(folder / path) for path in paths] or [str(folder)], folder / "out")
    return [os.path.relpath(path, folder) for path in album.photos]


class Stub:
    """Finds one box in every photo, and fails at those of 41, 42, ... rows as they are listed."""

    classes = ("background", "cat")

    def __init__(self, *failures: Exception) -> None:
        self._failures = failures

    def __call__(self, pixels: np.ndarray) -> Detections:
        if pixels.shape[0] > 40:
            raise self._failures[pixels.shape[0] - 41]
        box = np.array([[5, 5, 20, 20]], np.float32)
        return Detections(box, np.array([1]), ["cat"], np.array([0.9], np.float32))


def test_a_photo_is_taken_once_whatever_paths_lead_to_it(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (album / "loop").symlink_to(".")
    (album / "other").symlink_to("inner")
    for path in ("*", "**", "**/*", "*/*"):
        assert sorted(map(os.path.basename, found_in(album, path))) == ["a.png", "b.png"]
    assert found_in(album, "inner", "other", "inner/b.png", "other/b.png") == ["inner/b.png"]
    monkeypatch.chdir(album)
    assert len(find_photos(["a.png", str(album / "a.png"), "inner/../a.png"], Path("out")).photos) == 1


def run(stub: Stub, photos: list[Path], out: Path, drawings: bool = True) -> tuple[PhotoCounts, list[str]]:
    outcome = predict(cast(Detector, stub), photos, out, 0.5, drawings)
    content = json.loads((out / "detections.json").read_text())
    assert len(content["annotations"]) == len(content["images"]) == outcome.photos
    return outcome, [image["file_name"] for image in content["images"]]


def test_linked_folders_are_looked_into_and_circles_are_not_gone_round(album: Path) -> None:
    write_photo(album.parent / "other/c.png")
    (album / "linked").symlink_to("../other")
    (album / "inner/up").symlink_to("..")
    (album.parent / "other/back").symlink_to("../album")
    assert found_in(album) == ["a.png", "inner/b.png", "linked/c.png"]
    assert found_in(album, "inner") == ["inner/b.png", "inner/up/a.png", "inner/up/linked/c.png"]
    (album / "linked").unlink()
    assert found_in(album, "**/*.png") == ["a.png", "inner/b.png"]


def test_what_systems_leave_is_passed_over_once_and_told(album: Path) -> None:
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints/a-checkpoint.png"):
        write_photo(album / name)
    write_photo(album / "__MACOSX/._a.png")
    for paths in ([str(album)], [str(album), str(album)]):
        found = find_photos(paths, album / "out")
        assert [path.name for path in found.photos] == ["a.png", "b.png"] and len(set(found.junk)) == 6
    # A shell's glob names them one by one.
    found = find_photos([str(path) for path in sorted(album.iterdir())], album / "out")
    assert [path.name for path in found.photos] == ["a.png", "b.png"] and len(found.junk) == 6
    with pytest.raises(InputError, match="passed over 1 file that systems leave, such as"):
        find_photos([str(album / "._a.png")], album / "out")
    # A folder that someone names is meant, whatever it is called.
    assert found_in(album, ".ipynb_checkpoints/a-checkpoint.png") == [".ipynb_checkpoints/a-checkpoint.png"]


@pytest.mark.parametrize("name", ["x" * 300, "~nobody-of-this-name/a.png", "a.png/b.png", "*none*", "a\0b"])
def test_a_path_that_cannot_be_is_one_line(album: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(album)
    with pytest.raises(InputError, match="no such file or folder, and no glob that matches one"):
        find_photos([name], album / "out")


@pytest.mark.parametrize("stem", ["x" * 250, "写" * 83, os.fsdecode(b"\xe9" * 250)])
def test_a_long_name_has_a_drawing_of_its_own(album: Path, stem: str) -> None:
    names = [f"{stem[:-1]}{end}.png" for end in "ab"]
    for name in names:
        write_photo(album / "long" / name)
    outcome, _ = run(Stub(), find_photos([str(album / "long")], album / "out").photos, album / "out")
    drawn = sorted(os.listdir(album / "out/drawn"))
    assert outcome.photos == len(drawn) == 2 and not outcome.failed
    assert all(len(os.fsencode(name)) < 255 and name.endswith(".jpg") for name in drawn)
    run(Stub(), find_photos([str(album / "long")], album / "out").photos, album / "out")
    assert sorted(os.listdir(album / "out/drawn")) == drawn


def test_no_photo_costs_another_its_detections(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failures = (RuntimeError("a kernel\nsaid"), IndexError("amax()"), MemoryError(), OSError(5, "Input/output error"))
    for index in range(len(failures)):
        write_photo(album / f"fails{index}.png", 41 + index)
    (album / "empty.png").touch()
    (album / "text.png").write_text("no photo")
    (album / "gone.png").symlink_to("nowhere")
    (album / "round.png").symlink_to("round.png")
    os.mkfifo(album / "pipe.png")
    (album / os.fsdecode(b"\xff.png")).write_bytes((album / "a.png").read_bytes()[:40])
    photos = find_photos([str(album)], album / "out").photos
    vanished = album / "vanished.png"
    outcome, files = run(Stub(*failures), [*photos, vanished], album / "out")
    assert [Path(file).name for file in files] == ["a.png", "b.png"]
    assert (outcome.photos, outcome.failed) == (2, 11)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("frcnn: warning: ")]
    assert len(lines) == 11
    told = " ".join(lines)
    assert "nothing could be detected in it (RuntimeError: a kernel said); it is left out" in told
    assert r"\xff.png" in told and "vanished.png: no such file" in told
    assert sorted(os.listdir(album / "out/drawn")) == ["a.jpg", "b.jpg"]


def test_a_place_that_cannot_be_written_still_ends_it(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.bundle.predict.atomic_file", full)
    with pytest.raises(InputError, match=r"--out .*: cannot be written \(No space left on device\)"):
        run(Stub(), [album / "a.png"], album / "out")


def test_a_folder_that_cannot_be_listed_is_told(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(path: str) -> Any:
        if path.endswith("inner"):
            raise PermissionError(13, "Permission denied", path)
        return really(path)

    really = os.scandir
    monkeypatch.setattr("pipeline.datasets.folders.os", SimpleNamespace(**{**vars(os), "scandir": scandir}))
    found = find_photos([str(album)], album / "out")
    assert found.unreadable == [(str(album / "inner"), "Permission denied")] and len(found.photos) == 1
