"""Keeps to itself what image decoders write on the terminal: the caller's one line says all there is to say.

OpenCV's own lines, libtiff's among them, are silenced by its log level. libjpeg and libpng always write to file
descriptor 2, which leads to a file in memory while they decode. What other threads write meanwhile comes out
afterwards.
"""

from __future__ import annotations

import atexit
import fcntl
import mmap
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import cv2

_LOCK = threading.Lock()  # a process has one descriptor 2
_STDERR = 2
_MOST_BYTES = 1 << 20
_OF_DECODERS = re.compile(  # libpng's lines, and all warnings of libjpeg's (JWRN_ in its jerror.h)
    rb"(libpng (warning|error): |Corrupt JPEG data: |Premature end of JPEG file|Invalid SOS parameters for sequential"
    rb"|Inconsistent progression sequence for component|Warning: unknown JFIF revision number"
    rb"|Unknown Adobe color transform code|Application transferred too many scanlines)[^\n]*\n?"
)


@contextmanager
def without_decoder_lines() -> Iterator[None]:
    """Nothing that an image decoder writes inside comes out; all else does, at the end or after the next image."""
    with _LOCK:
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            with _captured():
                yield
        finally:
            cv2.utils.logging.setLogLevel(level)


@contextmanager
def _captured() -> Iterator[None]:
    with suppress(OSError, ValueError, AttributeError):  # closed, or none
        sys.stderr.flush()
    try:
        own = os.dup(_STDERR)
    except OSError:  # closed: nothing can come out
        yield
        return
    try:
        os.dup2(_CAPTURED.descriptor(), _STDERR)
        try:
            yield
        finally:
            with suppress(OSError, ValueError, AttributeError):
                sys.stderr.flush()
            os.dup2(own, _STDERR)
            _CAPTURED.pass_on()
    finally:
        os.close(own)


class _File:
    """A file in memory, and how much of it has been passed on."""

    def __init__(self) -> None:
        self.descriptor, self.passed_on = os.memfd_create("decoder lines"), 0
        # Without this, threads that write at once start at one place: nothing else guards a memfd's position.
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, os.O_APPEND)

    def pass_on(self, is_last: bool) -> None:
        while (written := os.fstat(self.descriptor).st_size) > self.passed_on:
            text = os.pread(self.descriptor, written - self.passed_on, self.passed_on)
            if written % mmap.PAGESIZE == 0 and not is_last:
                # Of a write across pages, the first page may be there and the next not yet.
                text = text[: text.rfind(b"\n") + 1]
                if not text:
                    return
            _write(_STDERR, _OF_DECODERS.sub(b"", text))
            self.passed_on += len(text)


class _Captured:
    """What is written while images are decoded, kept open from one image to the next.

    A thread inside `write` at the moment when descriptor 2 is given back writes its line into the file afterwards. The
    line is passed on after the next image, or at exit; a file closed after each image would lose it. A file that has
    grown is replaced, and closed only when the next one has grown too.
    """

    def __init__(self) -> None:
        self._files: list[_File] = []

    def descriptor(self) -> int:
        """Of the file to write into."""
        if not self._files or self._files[-1].passed_on > _MOST_BYTES:
            self._files.append(_File())
        if len(self._files) > 2:
            os.close(self._files.pop(0).descriptor)
        return self._files[-1].descriptor

    def pass_on(self, is_last: bool = False) -> None:
        """Write on the terminal what is new, without the decoders' lines."""
        for file in self._files:
            file.pass_on(is_last)

    def forget(self) -> None:
        """Leave the files to the process that this one was forked from."""
        for file in self._files:
            os.close(file.descriptor)
        self._files = []


_CAPTURED = _Captured()
atexit.register(_CAPTURED.pass_on, is_last=True)
os.register_at_fork(after_in_child=_CAPTURED.forget)


def _write(descriptor: int, text: bytes) -> None:
    with suppress(OSError):  # the terminal is gone
        while text:
            text = text[os.write(descriptor, text) :]
