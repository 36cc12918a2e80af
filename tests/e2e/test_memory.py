"""Memory does not grow with the data set: every stage streams."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.readers import IMAGES, measure
from tests.conftest import TINY, Project, lay_over, new_project

ALLOWED_BYTES, ALLOWED_SHARE = 64 << 20, 0.05


# A process counts as its peak what its parent held when it was forked, so a small one stands between.
_MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(usage.ru_maxrss * 1024)
sys.exit(process.returncode)
"""


def _peaks(project: Project) -> dict[str, int]:
    """Peak resident bytes of each stage, run by hand in the order of the graph."""
    peaks = {}
    for name, stage in yaml.safe_load((project.root / "dvc.yaml").read_text())["stages"].items():
        command = [sys.executable, *stage["cmd"].split()[1:]]
        result = project.run(sys.executable, "-c", _MEASURE, *command)
        assert result.returncode == 0, name
        peaks[name] = int(result.stdout)
    return peaks


@pytest.mark.long
def test_at_four_times_the_images_no_stage_peaks_higher(tmp_path: Path) -> None:
    peaks = []
    for images in (100, 400):
        params = lay_over(copy.deepcopy(TINY), {"dataset": {"shapes": {"train": images, "test": images // 4}}})
        lay_over(params, {"proposals": {"post_nms": 300, "pre_nms": 1000}})
        peaks.append(_peaks(new_project(tmp_path / str(images), params)))
    grown = {name: peaks[1][name] - small for name, small in peaks[0].items()}
    print({name: (small >> 20, grown[name] >> 20) for name, small in peaks[0].items()})
    for name, small in peaks[0].items():
        assert grown[name] <= max(ALLOWED_BYTES, ALLOWED_SHARE * small), (name, small, grown[name])


@pytest.mark.long
@pytest.mark.parametrize("reader", ["coco", "table"])  # those that hold what they read; the others read file by file
def test_at_four_times_the_entries_a_reader_peaks_higher_by_its_tables_at_most(reader: str) -> None:
    small, large = (measure(reader, images) for images in IMAGES)
    assert large["peak"] - small["peak"] <= (ALLOWED_BYTES >> 20) + large["tables"] - small["tables"]
