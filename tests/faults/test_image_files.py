"""Image files that are cut off, lie about their size, or are damaged anywhere: one line, little memory, no crash."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.artifacts.manifest import write_manifest
from pipeline.datasets.images import MAX_PIXELS, problems_of, read_rgb
from pipeline.runtime.errors import InputError
from tests.conftest import TINY, new_project
from tests.datasets.image_files import samples
from tests.faults.limits import fuzz, run
from tests.in_process import run_stage, words_of

SAMPLES = samples()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_cut_off_anywhere_is_told_and_never_read(name: str, tmp_path: Path) -> None:
    path, content = tmp_path / "image", SAMPLES[name]
    end = content.rindex(b"IEND") + 8 if name.startswith("png") else len(content)
    if name.startswith(
        "tiff"
    ):  # a directory that stands behind the strips ends with the offset of the next, read by few
        end = len(content) - 8
    for length in sorted({*range(0, 64), *range(64, end, max(1, end // 60)), *range(end - 12, end)}):
        path.write_bytes(content[:length])
        with pytest.raises(InputError) as caught:
            read_rgb(path)
        assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
        if length >= 12:
            assert "is cut off" in str(caught.value)
            assert [problem.kind for problem in problems_of(path)][:1] == ["truncated"]


def test_a_download_filled_up_with_zeros_is_cut_off(tmp_path: Path) -> None:
    path, content = tmp_path / "image.jpg", SAMPLES["jpeg-rgb"]
    path.write_bytes(content[:-100] + bytes(100))
    with pytest.raises(InputError, match="is cut off, it has no end marker; fetch it again"):
        read_rgb(path)


@pytest.mark.parametrize("filling", [b"\xff\x01", b"\xff\xc4\0\x02", b"\xff\xff", b"\xff\0", b"\xff\xc4\xff"])
def test_a_scan_of_markers_alone_is_gone_through_once(filling: bytes, tmp_path: Path) -> None:
    path, content = tmp_path / "image.jpg", SAMPLES["jpeg-rgb"]
    scan = content.index(b"\xff\xda") + 14
    path.write_bytes(content[:scan] + filling * (2**20 // len(filling)))
    assert [problem.kind for problem in problems_of(path)] == ["truncated"]
    path.write_bytes(content[:scan] + filling * (2**20 // len(filling)) + b"\xff\xd9\0\0\0\0\0\0")
    assert [problem.kind for problem in problems_of(path)] in ([], ["truncated"])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _huge() -> Iterator[tuple[str, bytes]]:
    """Complete little files whose headers tell the largest size that the format can."""
    jpeg = bytearray(SAMPLES["jpeg-rgb"])
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    yield "65535 x 65535", bytes(jpeg)
    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    yield (
        f"{2**31 - 1} x {2**31 - 1}",
        SAMPLES["png-rgb"][:8] + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b""),
    )
    bmp = bytearray(SAMPLES["bmp-runs"])
    bmp[18:26] = struct.pack("<ii", 2**31 - 1, -(2**31))
    yield f"{2**31 - 1} x {2**31}", bytes(bmp)
    gif = bytearray(SAMPLES["gif-palette"])
    gif[6:10] = b"\xff" * 4
    yield "65535 x 65535", bytes(gif)
    webp = bytearray(SAMPLES["webp-turned"])
    webp[24:30] = b"\xff" * 6
    yield f"{2**24} x {2**24}", bytes(webp)
    tiff = bytearray(SAMPLES["tiff-rgb"])
    (directory,) = struct.unpack_from("<I", tiff, 4)
    for entry in range(2):  # the tags stand in order: width, height
        struct.pack_into("<HHII", tiff, directory + 2 + 12 * entry, 256 + entry, 4, 1, 2**32 - 1)
    yield f"{2**32 - 1} x {2**32 - 1}", bytes(tiff)


_UNDER_A_LIMIT = """
import resource, sys
from pathlib import Path
from pipeline.datasets.images import problems_of, read_rgb
from pipeline.runtime.errors import InputError
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in map(Path, sys.argv[1:]):
    try:
        read_rgb(path)
    except InputError as error:
        print(error, problems_of(path)[0].kind)
"""


def test_absurd_sizes_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    expected, paths = [], []
    for index, (size, content) in enumerate(_huge()):
        paths.append(tmp_path / str(index))
        paths[-1].write_bytes(content)
        expected.append((size, f"are more than the {MAX_PIXELS} pixels that are read; scale it down", "too_large"))
    result = run("-c", _UNDER_A_LIMIT, *map(str, paths))
    lines = result.stdout.splitlines()
    assert result.returncode == 0 and len(lines) == 6, result.stderr
    for line, words in zip(lines, expected, strict=True):
        assert all(word in line for word in words), line


def test_a_header_with_many_values_is_refused(tmp_path: Path) -> None:
    tiff = bytearray(SAMPLES["tiff-rgb"])
    (directory,) = struct.unpack_from("<I", tiff, 4)
    struct.pack_into("<HHII", tiff, directory + 2, 256, 4, 2**32 - 1, 8)
    path = tmp_path / "image.tif"
    path.write_bytes(tiff)
    with pytest.raises(InputError, match=r"its tag 256 has 4294967295 values"):
        read_rgb(path)


def test_the_stage_ends_in_one_line_without_words_of_the_decoder(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project", TINY)
    run_stage("dataset", project.root)
    image = project.data / "dataset/images/train_00003.png"
    image.write_bytes(image.read_bytes()[:-1000])
    # As if it had been cut off before: else the manifest tells.
    write_manifest(project.data / "dataset", "dataset")
    # A decoder writes beside Python, so that only a process of its own has all that is written.
    result = project.run("python", "-m", *words_of(project.root, "resize"))
    assert result.returncode == 1 and "Traceback" not in result.stderr and "libpng" not in result.stderr
    assert "train_00003.png: is cut off, it ends " in result.stderr.splitlines()[-1]
    assert not (project.data / "resize").exists()


def _fuzz(seed: int, count: int, folder: Path) -> None:
    summary = fuzz("tests.faults.image_fuzzer", count, str(seed), "0", str(count), str(folder))
    assert int(summary.split()[0]) > count // 20, "too few are read for the decoders to be tested"


def test_damaged_files_end_in_pixels_or_one_line(tmp_path: Path) -> None:
    _fuzz(0, 500, tmp_path)


@pytest.mark.long
def test_many_damaged_files_end_in_pixels_or_one_line(tmp_path: Path) -> None:
    _fuzz(1, 5000, tmp_path)
