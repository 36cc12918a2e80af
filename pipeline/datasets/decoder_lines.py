"""Keeps to itself what image decoders write on the terminal: the caller's one line says all there is to say.

OpenCV's own lines, libtiff's among them, are silenced by its log level. libjpeg and libpng always write to file
descriptor 2, which leads to a file in memory while they decode. What other threads write meanwhile comes out again
afterwards.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import cv2

_LOCK = threading.Lock()  # a process has one descriptor 2
_STDERR = 2
_OF_DECODERS = re.compile(  # libpng's lines, and all warnings of libjpeg's (JWRN_ in its jerror.h)
    rb"(libpng (warning|error): |Corrupt JPEG data: |Premature end of JPEG file|Invalid SOS parameters for sequential"
    rb"|Inconsistent progression sequence for component|Warning: unknown JFIF revision number"
    rb"|Unknown Adobe color transform code|Application transferred too many scanlines)[^\n]*\n?"
)


@contextmanager
def without_decoder_lines() -> Iterator[None]:
    """Nothing that an image decoder writes inside comes out; all else does, at the end."""
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
    file = os.memfd_create("decoder lines")
    # Threads that write at once else start at one place: Linux guards the position of a memfd's writes by this alone.
    fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
    try:
        os.dup2(file, _STDERR)
        try:
            yield
        finally:
            with suppress(OSError, ValueError, AttributeError):
                sys.stderr.flush()
            os.dup2(own, _STDERR)
            passed_on = 0
            while (written := os.fstat(file).st_size) > passed_on:  # more may come of who began to write before
                _write(own, _OF_DECODERS.sub(b"", os.pread(file, written - passed_on, passed_on)))
                passed_on = written
    finally:
        os.close(file)
        os.close(own)


def _write(descriptor: int, text: bytes) -> None:
    with suppress(OSError):  # the terminal is gone
        while text:
            text = text[os.write(descriptor, text) :]
