"""Spoiled annotations of every format: readers and validation end in images or in one line, never in a traceback,
a hang or a GiB of memory. With those of test_image_files.py these are 1,000 cases, and 10,000 of `make test-long`."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults.limits import fuzz, run


def _fuzz(first: int, count: int, folder: Path) -> None:
    summary = fuzz("tests.faults.annotation_fuzzer", count, str(first), str(count), str(folder))
    outcomes = [int(part.split()[0]) for part in summary.split(", ")[:3]]
    assert sum(outcomes) == count and all(outcomes), "the edits do not reach errors, findings and sound images"


def test_five_hundred_spoiled_annotations(tmp_path: Path) -> None:
    _fuzz(0, 500, tmp_path)


@pytest.mark.long
def test_five_thousand_spoiled_annotations(tmp_path: Path) -> None:
    _fuzz(500, 5000, tmp_path)


def test_a_case_that_takes_a_gib_ends_its_process() -> None:
    code = "from tests.faults.limits import *; import numpy as np; limit_memory(); begin(7); np.ones(1 << 27)"
    result = run("-c", code)
    assert result.returncode == 1 and "MemoryError" in result.stderr and result.stdout == "7\n"
    assert run("-c", code.replace("1 << 27", "1 << 26")).returncode == 0


def test_a_case_that_hangs_ends_its_process() -> None:
    code = "import tests.faults.limits as l; l.LONGEST_CASE = 1; l.begin(7); [None for _ in iter(int, 1)]"
    result = run("-c", code)
    assert result.returncode == -signal.SIGALRM and result.stdout == "7\n"
