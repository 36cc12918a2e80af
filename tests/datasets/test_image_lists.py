"""Lists of image names: spaces, suffixes, VOC's second column, and lines that name no image."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.datasets.faults import Faults
from pipeline.datasets.image_lists import read_image_list
from pipeline.runtime.errors import InputError


def read(path: Path, text: str, there: set[str], with_flags: bool = True) -> list[str]:
    path.write_text(text, encoding="utf-8")
    return read_image_list(path, there.__contains__, Faults(), with_flags=with_flags).names


@pytest.mark.parametrize(
    ("text", "there", "names"),
    [
        ("a\nb\n", {"a", "b"}, ["a", "b"]),
        ("a  1\nb -1\r\nc  0\n", {"a", "b", "c"}, ["a", "b", "c"]),
        ("my photo 1\nmy photo 2\n", {"my photo 1", "my photo 2"}, ["my photo 1", "my photo 2"]),
        # All end in what could be a flag; the images that are there decide.
        ("my photo 0\nmy photo 1\n", {"my photo 0", "my photo 1"}, ["my photo 0", "my photo 1"]),
        ("my photo 0\nmy photo 1\n", {"my photo 1"}, ["my photo 0", "my photo 1"]),
        ("my photo 1\n", {"my photo"}, ["my photo"]),
        ("img  1\nimg 1 -1\n", {"img", "img 1"}, ["img", "img 1"]),
        ("my photo  1\nyours -1\n", {"my photo", "yours"}, ["my photo", "yours"]),
        ("a  1\nb  1\n", set(), ["a", "b"]),
        ("a 1\nb\n", {"a 1", "b"}, ["a 1", "b"]),
        # Suffixes, of a list of files.
        ("a.jpg\nb.JPEG\nc.png\nd.xml\n", {"a", "b", "c", "d"}, ["a", "b", "c", "d"]),
        ("a.jpg 1\nb.jpg -1\n", {"a", "b"}, ["a", "b"]),
        ("a.jpg\n", {"a.jpg"}, ["a.jpg"]),
        ("v1.0\nx_jpg.rf.1f\n", {"v1.0", "x_jpg.rf.1f"}, ["v1.0", "x_jpg.rf.1f"]),
        ("my photo.jpg\n", {"my photo"}, ["my photo"]),
        # Spaces of all kinds, inside and at the ends.
        ("a\u202fb\n\u3000c\n d\u3000\n", {"a\u202fb", "\u3000c", " d\u3000"}, ["a\u202fb", "\u3000c", " d\u3000"]),
        ("  a  \n\n\t\nb\t1\n", {"a", "b 1"}, ["a", "b\t1"]),
        ("\ufeffa\n", {"a"}, ["a"]),
        # What systems leave.
        ("._a\na\n.DS_Store\n", {"a"}, ["a"]),
    ],
)
def test_what_a_line_means(tmp_path: Path, text: str, there: set[str], names: list[str]) -> None:
    if "b\t1" in names:  # a tab inside a name is none
        with pytest.raises(InputError, match="is not an image name"):
            read(tmp_path / "list.txt", text, there)
    else:
        assert read(tmp_path / "list.txt", text, there) == names


def test_without_a_second_column_a_flag_is_part_of_the_name(tmp_path: Path) -> None:
    assert read(tmp_path / "list.txt", "a 1\n", {"a"}, with_flags=False) == ["a 1"]


@pytest.mark.parametrize("line", ["images/a.jpg", "../a", "/a", "a\\b", "a\u2028b", "a\x01", "x" * 252, ".."])
def test_what_is_no_name_is_one_line(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match="is not an image name; write it without folders") as caught:
        read(tmp_path / "list.txt", f"{line}\n", set())
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "\n \n", "._a\n"])
def test_a_list_of_nothing_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="lists no image"):
        read(tmp_path / "list.txt", text, set())
