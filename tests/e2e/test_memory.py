"""Memory does not grow with the data set: every stage streams."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.peak import ALLOWED_BYTES, is_allowed, peak_bytes
from benchmarks.readers import IMAGES, measure
from tests.conftest import TINY, Project, apply_overlay, new_project


def _peaks(project: Project) -> dict[str, int]:
    """Peak resident bytes of each stage, run by hand in the order of the graph."""
    peaks = {}
    for name, stage in yaml.safe_load((project.root / "dvc.yaml").read_text())["stages"].items():
        peaks[name] = peak_bytes([sys.executable, *stage["cmd"].split()[1:]], project.root)
    return peaks


@pytest.mark.long
def test_at_four_times_the_images_no_stage_peaks_higher(tmp_path: Path) -> None:
    peaks = []
    for images in (100, 400):
        params = apply_overlay(copy.deepcopy(TINY), {"dataset": {"shapes": {"train": images, "test": images // 4}}})
        apply_overlay(params, {"proposals": {"post_nms": 300, "pre_nms": 1000}})
        peaks.append(_peaks(new_project(tmp_path / str(images), params)))
    grown = {name: peaks[1][name] - small for name, small in peaks[0].items()}
    print({name: (small >> 20, grown[name] >> 20) for name, small in peaks[0].items()})
    for name, small in peaks[0].items():
        assert is_allowed(small, grown[name]), (name, small, grown[name])


@pytest.mark.long
@pytest.mark.parametrize("reader", ["coco", "table"])  # those that hold what they read; the others read file by file
def test_at_four_times_the_entries_a_reader_peaks_higher_by_its_tables_at_most(reader: str) -> None:
    small, large = (measure(reader, images) for images in IMAGES)
    assert large["peak"] - small["peak"] <= (ALLOWED_BYTES >> 20) + large["tables"] - small["tables"]
