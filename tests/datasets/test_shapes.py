"""The generated data set keeps its laws: counts, sides, ratios, covered objects, tight boxes, equal bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.datasets import shape_drawing
from pipeline.datasets.base import AnnotatedImage
from pipeline.datasets.shape_drawing import CLASSES, ShapesOptions
from pipeline.datasets.shapes import generate_shapes
from pipeline.runtime.errors import InputError
from pipeline.runtime.seeding import numpy_generator

OPTIONS = ShapesOptions(train=80, test=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dataset")


@pytest.fixture(scope="module")
def images(folder: Path) -> list[AnnotatedImage]:
    return list(generate_shapes(folder, OPTIONS, seed=0).images)


@pytest.fixture(scope="module")
def arrangements() -> list[tuple[np.ndarray, np.ndarray]]:
    """Kinds and boxes of 400 images, without the pictures."""
    return [shape_drawing._arrange(numpy_generator(0, "dataset", "train", index), OPTIONS) for index in range(400)]


def _mask(kind: int, box: np.ndarray, size: int = 256) -> np.ndarray:
    at = np.arange(size, dtype=np.float32) + np.float32(0.5)
    return shape_drawing._distance(kind, box, at, at[:, None]) < 0


def _pixels(folder: Path, image_id: str) -> np.ndarray:
    pixels = cv2.imread(str(folder / "images" / f"{image_id}.png"))
    assert pixels is not None
    return pixels.astype(np.float32)


def test_ids_ascend_and_every_image_lies_where_it_says(folder: Path, images: list[AnnotatedImage]) -> None:
    ids = [image.image_id for image in images]
    assert ids == sorted(ids) and ids[0] == "test_00000" and ids[-1] == "train_00079"
    for image in images:
        assert image.file == f"dataset/images/{image.image_id}.png"
        assert image.split == image.image_id.split("_")[0]
    assert _pixels(folder, "train_00000").shape == (images[-1].height, images[-1].width, 3) == (256, 256, 3)
    assert len(list(folder.rglob("*"))) == len(images) + 1  # no partial files


def test_annotations_are_typed_and_inside_the_image(images: list[AnnotatedImage]) -> None:
    for image in images:
        count = len(image.boxes)
        assert count <= 8 and image.boxes.shape == (count, 4)
        assert (image.boxes.dtype, image.labels.dtype) == (np.float32, np.int16)
        assert image.difficult.shape == image.iscrowd.shape == (count,)
        assert not image.difficult.any() and not image.iscrowd.any()
        assert (image.boxes >= 0).all() and (image.boxes <= 256).all()
        assert (image.boxes == np.rint(image.boxes)).all()
        sides = image.boxes[:, 2:] - image.boxes[:, :2]
        assert ((sides >= 16) & (sides <= 160)).all()
        assert (sides.max(1, initial=1) <= 3 * sides.min(1, initial=np.inf)).all()
    assert set(np.concatenate([image.labels for image in images])) == set(range(1, len(CLASSES) + 1))


def test_none_to_eight_objects_an_image(arrangements: list[tuple[np.ndarray, np.ndarray]]) -> None:
    counts = np.bincount([len(kinds) for kinds, _ in arrangements])
    assert len(counts) == 9 and counts.min() > 0
    assert 0.01 < counts[0] / counts.sum() < 0.06


def test_a_fifth_of_the_objects_is_covered_and_none_is_buried(
    arrangements: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    by_box = by_area = total = 0
    for kinds, boxes in arrangements:
        masks = [_mask(kind, box) for kind, box in zip(kinds, boxes, strict=True)]
        for index, (box, mask) in enumerate(zip(boxes, masks, strict=True)):
            later = masks[index + 1 :]
            by_area += any((mask & other).sum() * 3 >= mask.sum() for other in later)
            by_box += bool((shape_drawing._intersection(box, boxes[index + 1 :]) * 3 >= shape_drawing._area(box)).any())
            assert (mask & np.any([np.zeros_like(mask), *later], axis=0)).sum() <= 0.62 * mask.sum()
        total += len(boxes)
    assert 0.2 <= by_box / total <= 0.25
    assert 0.2 <= by_area / total <= 0.25


def test_bytes_repeat_and_do_not_depend_on_the_totals(
    folder: Path, images: list[AnnotatedImage], tmp_path: Path
) -> None:
    fewer = list(generate_shapes(tmp_path, replace(OPTIONS, train=6, test=3), seed=0).images)
    known = {image.image_id: image for image in images}
    for image in fewer:
        name = f"{image.image_id}.png"
        assert (tmp_path / "images" / name).read_bytes() == (folder / "images" / name).read_bytes()
        assert np.array_equal(image.boxes, known[image.image_id].boxes)
        assert np.array_equal(image.labels, known[image.image_id].labels)


def test_another_seed_gives_other_images(tmp_path: Path, images: list[AnnotatedImage]) -> None:
    other = next(generate_shapes(tmp_path, OPTIONS, seed=1).images)
    assert not np.array_equal(other.boxes, images[0].boxes)


def test_images_are_written_only_as_they_are_asked_for(tmp_path: Path) -> None:
    iterator = generate_shapes(tmp_path, OPTIONS, seed=0).images
    assert not list(tmp_path.iterdir())
    next(iterator)
    assert [path.name for path in tmp_path.rglob("*.png")] == ["test_00000.png"]


@pytest.mark.parametrize("kind", range(len(CLASSES)), ids=CLASSES)
@pytest.mark.parametrize("size", [(16, 16), (48, 16), (16, 48), (31, 60), (160, 97)])
def test_a_box_is_the_tight_extent_of_what_is_drawn(kind: int, size: tuple[int, int]) -> None:
    box = np.array([40, 30, 40 + size[0], 30 + size[1]], np.float32)
    canvas = np.full((256, 256, 3), 100, np.float32)
    shape_drawing._draw(numpy_generator(0, "tight"), canvas, kind, box)
    drawn = np.abs(canvas - 100).max(2) > 0.5
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    assert [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] == box.tolist()
    share = {"ellipse": np.pi / 4, "rectangle": 1, "triangle": 0.5}[CLASSES[kind]]
    assert drawn.sum() == pytest.approx(share * size[0] * size[1], rel=0.16)  # the faint rim included


def test_objects_stand_out_from_their_surroundings(folder: Path, images: list[AnnotatedImage]) -> None:
    differences = []
    for image in images[:40]:
        pixels = _pixels(folder, image.image_id)
        outside = ~np.any([np.zeros((256, 256), bool), *(_mask(1, box) for box in image.boxes)], axis=0)
        for x1, y1, x2, y2 in image.boxes[-1:].astype(int):  # the topmost
            ring = np.zeros((256, 256), bool)
            ring[max(y1 - 5, 0) : y2 + 5, max(x1 - 5, 0) : x2 + 5] = True
            if (ring & outside).any():
                centre = np.median(pixels[(y1 + y2) // 2 - 2 : (y1 + y2) // 2 + 3, (x1 + x2) // 2], axis=0)
                differences.append(np.linalg.norm(centre - pixels[ring & outside].mean(0)))
    assert len(differences) > 20 and min(differences) > 40


@pytest.mark.parametrize("change", [{"train": 0}, {"test": 0}, {"max_objects": 0}, {"image_size": 32}])
def test_impossible_options_are_told_in_one_line(tmp_path: Path, change: dict[str, int]) -> None:
    with pytest.raises(InputError) as caught:
        generate_shapes(tmp_path, replace(OPTIONS, **change), seed=0)
    assert "\n" not in str(caught.value)


def test_small_images_for_quick_runs(tmp_path: Path) -> None:
    for image in generate_shapes(tmp_path, ShapesOptions(train=10, test=5, image_size=64), seed=0).images:
        assert (image.boxes >= 0).all() and (image.boxes <= 64).all()


def test_val_images_look_like_test_images_and_leave_the_others_as_they_are(tmp_path: Path) -> None:
    without, with_val = (
        {image.image_id: image for image in generate_shapes(tmp_path / str(val), ShapesOptions(3, 2, val), 0).images}
        for val in (0, 4)
    )
    assert {image.split for image in without.values()} == {"train", "test"}
    assert sorted(set(with_val) - set(without)) == [f"val_{index:05d}" for index in range(4)]
    for image_id in without:
        name = f"images/{image_id}.png"
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "4" / name).read_bytes()
    first = {split: (tmp_path / "4" / f"images/{split}_00000.png").read_bytes() for split in ("val", "test")}
    assert first["val"] != first["test"]
