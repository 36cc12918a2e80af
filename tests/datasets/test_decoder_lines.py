"""What decoders write on the terminal does not come out; what others write meanwhile does."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pipeline.datasets.decoder_lines import _CAPTURED, without_decoder_lines
from pipeline.datasets.images import problems_of, read_rgb
from pipeline.runtime.errors import InputError
from tests.datasets.image_files import encode, picture, samples
from tests.datasets.image_kinds import png, tiff

SAMPLES = samples()


def _chatty() -> dict[str, bytes]:
    """Files of which decoders complain, by what they say."""
    jpeg, gray = SAMPLES["jpeg-rgb"], picture()[..., :1]
    damaged = bytearray(SAMPLES["png-rgb"])
    damaged[-30] ^= 0xFF
    return {
        "extraneous bytes": jpeg[:-2] + b"abcd\xff\xd9",
        "premature end of data segment": jpeg[:-40] + b"\xff\xd9",
        "IDAT: ": bytes(damaged),
        "tRNS: ": png(gray, 8, 0, chunks=[(b"tRNS", b"x" * 7)]),
        "Unknown Adobe color transform code": encode(Image.fromarray(picture()).convert("CMYK"), "JPEG").replace(
            b"Adobe\0\x64\0\0\0\0\0", b"Adobe\0\x64\0\0\0\0\7"
        ),
    }


@pytest.mark.parametrize("line", _chatty())
def test_lines_of_decoders_do_not_come_out(line: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content, path = _chatty()[line], tmp_path / "image"
    cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert line in capfd.readouterr().err  # else this test could not fail
    path.write_bytes(content)
    problems_of(path, deep=True)
    try:
        read_rgb(path)
    except InputError as error:
        assert "cannot be decoded" in str(error)
    assert capfd.readouterr() == ("", "")


def test_files_with_chunks_and_tags_of_which_decoders_would_complain_say_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    gray = picture()[..., :1]
    path = tmp_path / "image"
    for content in (
        png(gray, 8, 0, chunks=[(b"iCCP", b"x\0\0junk"), (b"gAMA", b"\0"), (b"sRGB", b"\7"), (b"abCd", b"")]),
        tiff(gray, 8, 1, tags={65000: [1]}),
    ):
        path.write_bytes(content)
        assert (read_rgb(path) == gray).all()
    assert capfd.readouterr() == ("", "")


_NOISE = b"libpng warning: iCCP: too short\nCorrupt JPEG data: 4 extraneous bytes before marker 0xd9\n"


def test_what_others_write_meanwhile_comes_out_whole(capfd: pytest.CaptureFixture[str]) -> None:
    lines = [f"\rline {number}\n" for number in range(5000)]

    def write() -> None:
        for line in lines:
            os.write(2, line.encode())

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        with without_decoder_lines():
            os.write(2, _NOISE)
    writer.join()
    with without_decoder_lines():
        pass  # passes on a line that was being written as the capture before it ended
    # Such a line comes after the ones that were written next.
    assert sorted(capfd.readouterr().err.split("\r")) == sorted("".join(lines).split("\r"))


@contextmanager
def _late_writer() -> Iterator[int]:
    """A descriptor of what descriptor 2 led to inside a capture, as a thread within `write` holds it afterwards."""
    with without_decoder_lines():
        late = os.dup(2)
    try:
        yield late
    finally:
        os.close(late)


def test_a_line_written_late_comes_out_after_the_next_image(capfd: pytest.CaptureFixture[str]) -> None:
    with _late_writer() as late:
        os.write(late, b"late\n")
        with without_decoder_lines():
            os.write(2, _NOISE)
    assert capfd.readouterr().err == "late\n"


def test_a_write_across_pages_that_is_seen_in_part_comes_out_whole(capfd: pytest.CaptureFixture[str]) -> None:
    with _late_writer() as late:
        length = -(os.fstat(late).st_size + len(b"\npart")) % mmap.PAGESIZE
        os.write(late, b"." * length + b"\npart")
        with without_decoder_lines():
            pass
        assert capfd.readouterr().err == "." * length + "\n"
        os.write(late, b"ial\n")
        with without_decoder_lines():
            pass
        assert capfd.readouterr().err == "partial\n"


def test_at_the_end_all_comes_out(capfd: pytest.CaptureFixture[str]) -> None:
    with _late_writer() as late:
        os.write(late, b"." * (mmap.PAGESIZE - os.fstat(late).st_size % mmap.PAGESIZE))
    _CAPTURED.pass_on(is_last=True)
    assert set(capfd.readouterr().err) == {"."}


def test_a_line_written_late_comes_out_where_very_much_was_written_in_between(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with _late_writer() as late:
        with without_decoder_lines():
            os.write(2, _NOISE * 20_000)
        os.write(late, b"late\n")
        for _ in range(3):
            with without_decoder_lines():
                os.write(2, _NOISE)
    assert capfd.readouterr().err == "late\n"


def test_lines_written_late_come_out_at_exit_and_once_where_the_process_forks() -> None:
    code = """
import mmap
import os
from pipeline.datasets.decoder_lines import _CAPTURED, without_decoder_lines
with without_decoder_lines():
    late = os.dup(2)
os.write(late, b"late\\n")
child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    with without_decoder_lines():
        pass
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "late\n"


def test_an_error_inside_gives_the_terminal_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), without_decoder_lines():
        os.write(2, b"before\nlibpng error: x\n")
        raise KeyboardInterrupt
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"


def test_images_are_read_where_the_terminal_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(_chatty()["extraneous bytes"])
    code = (
        "import sys; from pathlib import Path; from pipeline.datasets.images import read_rgb; "
        "print(read_rgb(Path(sys.argv[1])).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, preexec_fn=lambda: os.close(2), text=True
    )
    assert done.returncode == 0 and done.stdout.strip() == str(picture().shape)
