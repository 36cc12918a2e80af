"""Proposal files: what we write is what detectron2 and mmdetection load, and what they write is what we read."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.exchange.proposal_files import (
    LAYOUTS,
    Proposals,
    read_proposal_file,
    to_logits,
    to_probabilities,
    write_proposal_file,
)
from pipeline.runtime.errors import InputError

PROBABILITIES = st.floats(0, 1, width=32)
PROTOCOLS = [2, 3, 4, 5]


@st.composite
def entries(draw: st.DrawFn) -> Proposals:
    count = draw(st.integers(0, 6))
    scores = draw(hnp.arrays(np.float32, count, elements=PROBABILITIES))
    boxes = draw(hnp.arrays(np.float32, (count, 4), elements=st.floats(0, 4096, width=32)))
    return Proposals(boxes, -np.sort(-scores, kind="stable"))


def written(path: Path, content: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@given(st.lists(entries(), max_size=5), st.sampled_from(LAYOUTS))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, images: list[Proposals], layout: str
) -> None:
    if layout == "mmdetection" and not images:
        return  # a dict of nothing says no layout
    path = tmp_path_factory.getbasetemp() / "ours.pkl"
    names = [f"images/{index}.jpg" for index in range(len(images))]
    write_proposal_file(path, layout, names, images)
    read = read_proposal_file(path)
    assert read.layout == layout and read.names == (None if layout == "mmdetection2" else names)
    for ours, theirs in zip(images, read.entries, strict=True):
        np.testing.assert_array_equal(theirs.boxes, ours.boxes)
        np.testing.assert_allclose(theirs.scores, ours.scores, rtol=2e-5, atol=1e-44)
        assert theirs.boxes.dtype == theirs.scores.dtype == np.float32
        saturated = (ours.scores == 0) | (ours.scores == 1)
        np.testing.assert_array_equal(theirs.scores[saturated], ours.scores[saturated])


@given(st.lists(PROBABILITIES, min_size=1))
def test_logits_are_finite_ordered_and_come_back(probabilities: list[float]) -> None:
    exact = np.sort(np.array(probabilities, dtype=np.float32))
    logits = to_logits(exact)
    assert logits.dtype == np.float32 and np.isfinite(logits).all() and (np.diff(logits) >= 0).all()
    np.testing.assert_allclose(to_probabilities(logits), exact, rtol=2e-5, atol=1e-44)


def test_some_logits_and_the_saturated_ones() -> None:
    tiny, almost = np.nextafter(np.float32(0), np.float32(1)), np.nextafter(np.float32(1), np.float32(0))
    logits = to_logits(np.array([0, tiny, 0.25, 0.5, almost, 1], dtype=np.float32))
    np.testing.assert_allclose(logits, [-104, -103.27893, -np.log(3), 0, 16.635532, 104], rtol=1e-6)
    np.testing.assert_array_equal(to_probabilities(logits)[[0, 1, 3, 5]], np.float32([0, tiny, 0.5, 1]))
    np.testing.assert_array_equal(to_probabilities(np.array([-np.inf, -1e9, 1e9, np.inf])), [0, 0, 1, 1])


def test_detectron2_loads_what_we_write(tmp_path: Path) -> None:
    boxes, scores = np.float32([[0, 0, 5, 5], [1, 2, 3, 4]]), np.float32([0.9, 0.1])
    nothing = Proposals(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    write_proposal_file(tmp_path / "a.pkl", "detectron2", ["000005", "000007"], [Proposals(boxes, scores), nothing])
    # The steps of load_proposals_into_dataset.
    content = pickle.loads((tmp_path / "a.pkl").read_bytes(), encoding="latin1")
    at = {str(name): index for index, name in enumerate(content["ids"])}
    best_first = content["objectness_logits"][at["000005"]].argsort()[::-1]
    np.testing.assert_array_equal(content["boxes"][at["000005"]][best_first], boxes)
    assert content["bbox_mode"] == 0
    assert content["boxes"][at["000007"]].shape == (0, 4) and content["objectness_logits"][at["000007"]].shape == (0,)


def test_mmdetection_loads_what_we_write(tmp_path: Path) -> None:
    entry = Proposals(np.float32([[0, 0, 5, 5]]), np.float32([0.9]))
    write_proposal_file(tmp_path / "a.pkl", "mmdetection", ["JPEGImages/000005.jpg"], [entry])
    fields = pickle.loads((tmp_path / "a.pkl").read_bytes())["JPEGImages/000005.jpg"]
    np.testing.assert_array_equal(fields["bboxes"].astype(np.float32), entry.boxes)
    np.testing.assert_array_equal(fields["scores"], entry.scores)
    write_proposal_file(tmp_path / "b.pkl", "mmdetection2", ["000005"], [entry])
    (rows,) = pickle.loads((tmp_path / "b.pkl").read_bytes())
    np.testing.assert_array_equal(rows, np.float32([[0, 0, 5, 5, 0.9]]))


def test_files_load_with_numpy_1_which_knows_no_underscored_core(tmp_path: Path) -> None:
    entry = Proposals(np.ones((2, 4), np.float32), np.ones(2, np.float32))
    for layout in LAYOUTS:
        write_proposal_file(tmp_path / "a.pkl", layout, ["numpy._core.multiarray\n", "b"], [entry] * 2)
        content = (tmp_path / "a.pkl").read_bytes()
        assert b"cnumpy._core" not in content and content.count(b"cnumpy.core.multiarray\n_reconstruct\n") == 1
        assert len(pickle.loads(content)) > 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_detectron2_in_its_own_order_with_whole_number_ids(tmp_path: Path, protocol: int) -> None:
    content = {
        "boxes": [np.float32([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]]), np.zeros((0, 4), np.float32)],
        "objectness_logits": [np.float32([-1, 30, 20]), np.zeros(0, np.float32)],
        "ids": [139, 285],
        "bbox_mode": 0,
    }
    read = read_proposal_file(written(tmp_path / "a.pkl", content, protocol))
    assert (read.layout, read.names) == ("detectron2", ["139", "285"])
    # Logits that are both 1 as probabilities keep their order.
    np.testing.assert_array_equal(read.entries[0].boxes[:, 2], [2, 3, 1])
    np.testing.assert_allclose(read.entries[0].scores, [1, 1, 1 / (1 + np.e)], rtol=1e-6)
    assert read.entries[1].boxes.shape == (0, 4)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_detectron2_with_widths_and_heights(tmp_path: Path, protocol: int) -> None:
    content = {"ids": np.array([1]), "boxes": [np.array([[10, 20, 30, 40]])], "objectness_logits": [np.array([0.0])]}
    xywh = read_proposal_file(written(tmp_path / "a.pkl", content | {"bbox_mode": 1}, protocol)).entries[0]
    np.testing.assert_array_equal(xywh.boxes, [[10, 20, 40, 60]])
    xyxy = read_proposal_file(written(tmp_path / "a.pkl", content, protocol)).entries[0]
    np.testing.assert_array_equal(xyxy.boxes, [[10, 20, 30, 40]])


def test_the_first_detectron_wrote_indexes_and_probabilities(tmp_path: Path) -> None:
    content = {"indexes": [7], "boxes": [np.ones((2, 4), np.float32)], "scores": [np.float32([0.25, 0.75])]}
    read = read_proposal_file(written(tmp_path / "a.pkl", content, 2))
    assert read.names == ["7"]
    np.testing.assert_array_equal(read.entries[0].scores, [0.75, 0.25])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_mmdetection_2_with_and_without_scores(tmp_path: Path, protocol: int) -> None:
    content = [np.float32([[0, 0, 1, 1, 0.2], [0, 0, 2, 2, 0.8]]), np.float32([[0, 0, 9, 9], [0, 0, 8, 8]])]
    content.append(np.zeros((0, 5), np.float32))
    read = read_proposal_file(written(tmp_path / "a.pkl", content, protocol))
    assert (read.layout, read.names) == ("mmdetection2", None)
    np.testing.assert_array_equal(read.entries[0].scores, np.float32([0.8, 0.2]))
    np.testing.assert_array_equal(read.entries[1].boxes[:, 2], [9, 8])
    np.testing.assert_array_equal(read.entries[1].scores, [1, 1])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_mmdetection_3_by_file_names(tmp_path: Path, protocol: int) -> None:
    content = {"train2017/a.jpg": {"bboxes": np.ones((1, 4)), "scores": np.array([0.5]), "labels": np.array([0])}}
    read = read_proposal_file(written(tmp_path / "a.pkl", content, protocol))
    assert (read.layout, read.names) == ("mmdetection", ["train2017/a.jpg"])
    np.testing.assert_array_equal(read.entries[0].scores, [0.5])


ONE, SCORE = np.ones((1, 4)), np.array([0.5])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"ids": ["a"], "boxes": [ONE]}, "'objectness_logits' is missing"),
        ({"ids": ["a", "b"], "boxes": [ONE], "objectness_logits": [SCORE]}, "different lengths"),
        ({"ids": [[1]], "boxes": [ONE], "objectness_logits": [SCORE]}, "'ids' holds something"),
        ({"ids": ["a"], "boxes": [ONE], "objectness_logits": [SCORE], "bbox_mode": 4}, "bbox_mode is 4"),
        ({"ids": ["a"], "boxes": [ONE], "objectness_logits": [SCORE], "bbox_mode": SCORE}, "bbox_mode is"),
        ({"ids": ["a"], "boxes": [np.ones((1, 5))], "objectness_logits": [SCORE]}, "image 'a': its boxes have shape"),
        ({"ids": ["a"], "boxes": [ONE], "objectness_logits": [np.ones(2)]}, "image 'a': 1 boxes and 2 scores"),
        ({"ids": ["a"], "boxes": [ONE * np.nan], "objectness_logits": [SCORE]}, "image 'a': has boxes"),
        ({"ids": ["a"], "boxes": [ONE * 1e300], "objectness_logits": [SCORE]}, "image 'a': has boxes"),
        ({"ids": ["a"], "boxes": [ONE], "objectness_logits": [SCORE * np.nan]}, "image 'a': has boxes or scores"),
        ({"a.jpg": {"bboxes": ONE, "scores": SCORE * 3}}, "image 'a.jpg': has scores outside 0..1"),
        ({"a.jpg": {"scores": SCORE}}, "image 'a.jpg': its boxes have shape None"),
        ([np.ones((2, 6))], "entry 0 has shape (2, 6)"),
        ([[ONE]], "is not a proposal file of detectron2, mmdetection, mmdetection2"),
        ({}, "is not a proposal file"),
        ("text", "is not a proposal file"),
    ],
)
def test_a_file_that_makes_no_sense_is_one_line(tmp_path: Path, content: Any, expected: str) -> None:
    path = written(tmp_path / "a.pkl", content)
    with pytest.raises(InputError) as error:
        read_proposal_file(path)
    assert expected in str(error.value) and "\n" not in str(error.value) and str(error.value).startswith(f"{path}: ")


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path) -> None:
    entry = Proposals(np.ones((1, 4), np.float32), np.ones(1, np.float32))
    write_proposal_file(tmp_path / "a.pkl", "detectron2", ["a"], [entry])
    before = (tmp_path / "a.pkl").read_bytes()
    with pytest.raises(ValueError, match="longer"):
        write_proposal_file(tmp_path / "a.pkl", "mmdetection", ["a"], [entry, entry])
    assert (tmp_path / "a.pkl").read_bytes() == before and len(list(tmp_path.iterdir())) == 1
