"""The Detector finds what the detect stage wrote, and leaves the process as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.tables import boxes_of
from pipeline.bundle import Detector
from pipeline.bundle.writing import write_bundle
from pipeline.datasets.images import read_rgb
from pipeline.runtime.errors import InputError
from tests.conftest import ROOT, Project


@pytest.fixture(scope="module")
def detector(joint_bundle: Path) -> Detector:
    return Detector.load(joint_bundle, "cpu")


def photos(run: Project) -> list[Path]:
    return sorted((run.data / "dataset").rglob("test_*.*"))


@pytest.mark.parametrize("network", ["step4", "joint"])
def test_the_stages_rows_are_found_bit_for_bit(tiny_run: Project, tmp_path: Path, network: str) -> None:
    write_bundle(tiny_run.root, network, tmp_path / network)
    detector = Detector.load(tmp_path / network, "cpu")
    stage = ImageRows(tiny_run.data / f"detect_{network}/detections.parquet", DETECTIONS)
    total = 0
    for path in photos(tiny_run):
        found, rows = detector(path), stage[path.stem, False]
        assert np.array_equal(found.boxes, boxes_of(rows))
        assert np.array_equal(found.scores, rows["score"])
        assert np.array_equal(found.labels, rows["label"])
        total += len(found)
    assert total >= 6 * 5


def test_a_path_an_array_and_a_list_give_the_same(tiny_run: Project, detector: Detector) -> None:
    first, second = photos(tiny_run)[:2]
    of_path, of_array = detector(str(first)), detector(read_rgb(first))
    of_list = detector([read_rgb(first), second])
    assert np.array_equal(of_path.boxes, of_array.boxes) and np.array_equal(of_path.boxes, of_list[0].boxes)
    assert np.array_equal(of_list[1].scores, detector(second).scores)
    assert detector([]) == []


def test_detections_have_the_promised_types_and_lie_in_the_original_image(
    tiny_run: Project, detector: Detector
) -> None:
    pixels = read_rgb(photos(tiny_run)[0])
    larger = cv2.resize(pixels, (pixels.shape[1] * 2, pixels.shape[0] * 2), interpolation=cv2.INTER_NEAREST)
    found = detector(larger)
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (np.float32, np.float32, np.int64)
    assert found.boxes.shape == (len(found), 4) and len(found) > 0
    assert found.boxes.min() >= 0 and (found.boxes[:, 2:] <= [larger.shape[1], larger.shape[0]]).all()
    assert found.boxes[:, 2].max() > pixels.shape[1]
    assert found.names == [detector.classes[label] for label in found.labels]
    assert (np.diff(found.scores) <= 0).all()
    middle = float(found.scores[len(found) // 2])
    assert len(found.above(middle)) == np.count_nonzero(found.scores >= middle) > 0
    assert len(found.above(1.1)) == 0


def test_a_view_of_an_array_is_read_as_it_looks(tiny_run: Project, detector: Detector) -> None:
    pixels = read_rgb(photos(tiny_run)[0])
    assert np.array_equal(detector(pixels[:, ::-1]).boxes, detector(pixels[:, ::-1].copy()).boxes)


def test_threads_autocast_and_gradients_are_as_before(tiny_run: Project, detector: Detector) -> None:
    before = torch.get_num_threads()
    assert detector.settings.params.base.threads == 1
    torch.set_num_threads(2)
    try:
        detector(photos(tiny_run)[0])
        with pytest.raises(InputError):
            detector("absent.jpg")
        assert torch.get_num_threads() == 2
        assert not torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("photo", "expected"),
    [
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\) and uint8: give \(H, W, 3\) uint8 RGB"),
        (np.zeros((4, 4, 4), np.uint8), "give"),
        (np.zeros((0, 4, 3), np.uint8), "give"),
        (np.zeros((4, 4, 3), np.float32), "float32: give"),
        (7, "int: is not a photo"),
        ("absent.jpg", r"absent\.jpg: no such file"),
    ],
)
def test_what_is_no_photo_is_told(detector: Detector, photo: object, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        detector(photo)  # type: ignore[call-overload]


@pytest.mark.parametrize("device", ["tpu", "", "meta"])
def test_no_such_device_is_told(joint_bundle: Path, device: str) -> None:
    with pytest.raises(InputError, match=f"device '{device}'"):
        Detector.load(joint_bundle, device)


def test_three_lines_of_python_detect_from_anywhere(tiny_run: Project, joint_bundle: Path, tmp_path: Path) -> None:
    photo = photos(tiny_run)[0]
    code = f"""
from pipeline.bundle import Detector
detector = Detector.load({str(joint_bundle)!r})
detections = detector({str(photo)!r})
import json; print(json.dumps(detections.boxes.tolist()))
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    stage = ImageRows(tiny_run.data / "detect_joint/detections.parquet", DETECTIONS)[photo.stem, False]
    assert np.array_equal(np.array(json.loads(result.stdout), np.float32), boxes_of(stage))
