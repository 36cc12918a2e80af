"""Files below a folder: links followed, circles not; names that may stand in a list, and those of no one's data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.datasets.file_names import is_junk, is_plain, junk_remark, printable, shortened_name
from pipeline.datasets.folders import look_below


def found(folder: Path) -> list[str]:
    return [os.path.relpath(path, folder) for path in look_below(folder).files]


def test_linked_folders_are_followed_and_each_is_entered_once(tmp_path: Path) -> None:
    (tmp_path / "album/own").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    for name in ("album/z.jpg", "album/own/a.jpg", "other/b.jpg"):
        (tmp_path / name).touch()
    for link, target in (
        ("album/back", "."),
        ("album/own/up", ".."),
        ("album/also", "own"),
        ("album/first", "../other"),
        ("album/second", "../other"),
        ("other/round", "../album"),
        ("album/gone.jpg", "nowhere"),
        ("album/same.jpg", "same.jpg"),
    ):
        (tmp_path / link).symlink_to(target)
    assert found(tmp_path / "album") == ["first/b.jpg", "gone.jpg", "own/a.jpg", "same.jpg", "z.jpg"]


def test_what_systems_leave_is_passed_over_and_told(tmp_path: Path) -> None:
    for name in ("a.jpg", "._a.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "s/.ipynb_checkpoints/a.jpg", "s/b.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX/c.jpg").touch()
    assert found(tmp_path) == ["a.jpg", "s/b.jpg"]
    below = look_below(tmp_path)
    assert len(below.junk) == 6
    (remark,) = junk_remark([*below.junk, *below.junk])
    assert remark.startswith("passed over 6 files that systems leave, such as ")
    assert junk_remark([]) == [] and "1 file that" in junk_remark(["._a"])[0]


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    assert look_below(tmp_path / "none").unreadable == [(str(tmp_path / "none"), "No such file or directory")]


@pytest.mark.parametrize(
    "name",
    [
        "Screenshot 2024-01-01 at 3.04.05\u202fPM.jpg",
        "写真\u30002.jpg",
        "a b",
        " a ",
        "a\u00a0b",
        "e\u0301",
        "👨\u200d👩\u200d👧.png",
        "\u202eabc",
        "\ue000",
        "...",
        ".hidden",
        "~a",
        "a%20b#?&'\"$*[1]",
        "x" * 255,
    ],
)
def test_names_of_files_are_plain(name: str) -> None:
    assert is_plain(name)
    assert printable(name) == name and "\n" not in printable(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "a\nb",
        "a\rb",
        "a\tb",
        "a\0",
        "\x7f",
        "\x85",
        "a\u2028b",
        "a\u2029",
        "\udcff",
        "\ud800",
        "x" * 256,
        "写" * 86,
    ],
)
def test_what_is_no_name_of_a_file_or_breaks_lines_is_not(name: str) -> None:
    assert not is_plain(name)
    assert len(printable(f"a{name}b").splitlines()) == 1
    printable(name).encode()


def test_a_name_leaves_room_for_its_suffix() -> None:
    assert is_plain("x" * 251, ".xml") and not is_plain("x" * 252, ".xml")


def test_bytes_that_are_no_utf8_are_told_as_bytes() -> None:
    assert printable(os.fsdecode(b"\xe9t\xe9 \xc3\xa9\n")) == r"\xe9t\xe9 é\n"


def test_names_that_only_look_like_junk_are_data() -> None:
    assert not any(map(is_junk, ["_a.jpg", ".a.jpg", "thumbs.jpg", "DS_Store.jpg", "desktop.jpg", "a._b.jpg"]))


@pytest.mark.parametrize("name", ["x" * 250, "写" * 83, os.fsdecode(b"\xe9" * 250)])
def test_a_long_name_is_cut_and_stays_one_of_its_own(name: str) -> None:
    short = shortened_name(name)
    assert short == shortened_name(name) != shortened_name(name + "x") and len(os.fsencode(short)) <= 200
    short.encode()
    assert shortened_name("写" * 60) == "写" * 60
