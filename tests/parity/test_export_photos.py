"""The exported VGG16 on real photos: equal detections in equal pixels, and what another resizing changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch
import yaml
from torch import Tensor
from torchvision.models.detection import FasterRCNN as TorchvisionFasterRCNN

from pipeline.building.pretrained import load_pretrained
from pipeline.building.trunk import new_trunk
from pipeline.datasets.images import read_rgb
from pipeline.datasets.resizing import resized_size
from pipeline.families.faster_rcnn.nn.network import FasterRCNN
from pipeline.nn.boxes import decode, pairwise_iou
from pipeline.params.reading import Params
from tests.conftest import ROOT
from tests.parity.comparison import (
    Differences,
    detect_with_ours,
    detect_with_theirs,
    differences,
    exported,
    ours,
    params_of,
    random_parts,
)

pytestmark = pytest.mark.authority("torchvision")

NUM_CLASSES = 7


@pytest.fixture(scope="module")
def params() -> Params:
    """Of the preset for these photos."""
    return params_of(yaml.safe_load((ROOT / "pipeline/presets/voc6_vgg16.yaml").read_text()))


@pytest.fixture(scope="module")
def networks(shared: Path, params: Params) -> tuple[FasterRCNN, TorchvisionFasterRCNN]:
    """ImageNet's trunk with random heads, ours and exported."""
    trunk = new_trunk(params.backbone)
    weights = shared / "weights/vgg16_features_torchvision.pth"
    load_pretrained(trunk, torch.load(weights, weights_only=True), str(weights))
    parts = random_parts(trunk, params, NUM_CLASSES, seed=0)
    return ours(parts, params), exported(parts, params)


@pytest.fixture(scope="module")
def photos(shared: Path) -> list[Path]:
    """The test photos of voc6_mini."""
    root = shared / "data/voc6_mini"
    return [root / f"JPEGImages/{name}.jpg" for name in (root / "ImageSets/Main/test.txt").read_text().split()]


def originals_and_resized(photos: list[Path], params: Params) -> Iterator[tuple[Tensor, Tensor]]:
    """(3, H, W) uint8 pixels of each photo, and those that the resize stage makes of them."""
    for path in photos:
        pixels = read_rgb(path)
        height, width = resized_size(*pixels.shape[:2], params.resize)
        resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        yield torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(resized).permute(2, 0, 1)


@pytest.mark.long
def test_all_test_photos_detect_the_same(
    networks: tuple[FasterRCNN, TorchvisionFasterRCNN], photos: list[Path], params: Params
) -> None:
    """Scores within 1e-4, boxes within 0.05 px.

    torchvision's RoIHeads drops boxes narrower than 1e-2 px, and another detection takes the place of each. Both
    networks round their sums differently (pixels are normalised in another order, the RPN has one logit in place of
    two), and random heads give a thousand nearly equal candidates an image. Where two that overlap score alike but for
    the rounding, or their IoU is an NMS threshold but for it, one may replace the other.
    """
    total, replaced = Differences(), []
    for path, (_, pixels) in zip(photos, originals_and_resized(photos, params), strict=True):
        own = detect_with_ours(networks[0], pixels)
        found = differences(own, detect_with_theirs(networks[1], pixels))
        total.add(found)
        narrow = int(((own.boxes[:, 2:] - own.boxes[:, :2]).amin(dim=1) < 1e-2).sum())
        if len(found.unpaired) > 2 * narrow:
            replaced.append(path.stem)
    print(
        f"{len(photos)} photos, {total.pairs} pairs, score {total.score:.1e}, box {total.box:.1e} px; without a pair:"
    )
    print("\n".join(total.unpaired), f"\nnot for being narrow: {replaced}")
    assert total.pairs > 50 * len(photos)
    assert len(replaced) <= 0.01 * len(photos)
    assert len(total.unpaired) <= 1e-3 * total.pairs


def class_outputs(model: TorchvisionFasterRCNN, image: Tensor, photo: Tensor, rois: Tensor) -> tuple[Tensor, Tensor]:
    """(R, C) probabilities and (R, C - 1, 4) boxes of (R, 4) RoIs, all in pixels of the photo, on its resized image."""
    pooled = model.roi_heads.box_roi_pool({"0": model.backbone(image)}, [rois * scale_of(image, photo)], [])
    logits, deltas = model.roi_heads.box_predictor(model.roi_heads.box_head(pooled))
    return torch.softmax(logits, dim=1), decode(rois, deltas.unflatten(1, (-1, 4)))[:, 1:]


def scale_of(image: Tensor, photo: Tensor) -> Tensor:
    """(4,) resized pixels per pixel of the photo: x, y, x, y."""
    return torch.tensor([image.shape[-1] / photo.shape[-1], image.shape[-2] / photo.shape[-2]]).repeat(2)


def quantiles(gaps: list[Tensor]) -> str:
    every = torch.cat(gaps)
    figures = [f"{share:.0%} {float(torch.quantile(every, share)):.4f}" for share in (0.5, 0.95, 0.99)]
    return f"{', '.join(figures)}, max {float(every.max()):.4f}"


@pytest.mark.long
def test_torchvisions_own_resizing_of_the_photo_changes_little(
    networks: tuple[FasterRCNN, TorchvisionFasterRCNN], photos: list[Path], params: Params
) -> None:
    """torchvision cuts the resized sides to whole pixels where ours rounds them, and does not round the pixels.

    The same RoIs on both resized images are compared by class probabilities, and by boxes in pixels of the photo.
    """
    network, model = networks
    other_sizes, grey, probabilities, boxes, overlaps = 0, [], [], [], []
    with torch.inference_mode():
        for photo, resized in originals_and_resized(photos[::8], params):
            own, theirs = (model.transform([image.float() / 255])[0].tensors for image in (resized, photo))
            if own.shape == theirs.shape:
                grey.append((own - theirs).abs().mean(dim=(0, 2, 3)) * network.trunk.pixel_std * 255)
            else:
                other_sizes += 1
            found = detect_with_ours(network, resized)
            rois = found.boxes / scale_of(resized, photo)
            outputs = [class_outputs(model, image, photo, rois) for image in (own, theirs)]
            probabilities.append((outputs[0][0] - outputs[1][0]).abs().flatten())
            boxes.append((outputs[0][1] - outputs[1][1]).abs().amax(dim=2).flatten())
            again = detect_with_theirs(model, photo)
            same = found.labels[:, None] == again["labels"]
            overlaps.append((pairwise_iou(rois, again["boxes"]) * same).amax(dim=1))
    overlap, levels = torch.cat(overlaps), float(torch.stack(grey).mean())
    print(
        f"{len(overlaps)} photos, {other_sizes} of another size; in the others a pixel differs by {levels:.3f} of 255"
    )
    print(f"probabilities of the same RoIs: {quantiles(probabilities)}")
    print(f"their boxes, px: {quantiles(boxes)}")
    print(
        "detections found again", *(f"at IoU {least}: {(overlap > least).float().mean():.3f}" for least in (0.5, 0.9))
    )
    assert other_sizes < 0.2 * len(overlaps)
    assert float(torch.cat(probabilities).median()) < 0.01
    assert float(torch.cat(boxes).median()) < 1
