"""SSD300 against torchvision's `ssd300_vgg16`: default boxes, maps, outputs, losses and detections, of the same weights
in the same pixels.

Authority: torchvision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD

from benchmarks.torchvision_pairs import Boxes, Pairs, pair
from pipeline.artifacts.dense_targets import StoredAssignment
from pipeline.dense.assignment import Truth
from pipeline.dense.head import DenseHead
from pipeline.dense.maps import outputs_of
from pipeline.dense.network import DenseDetector
from pipeline.dense.targets import BatchTargets, put_together
from pipeline.families.ssd import default_boxes, dense_targets, detect_dense, head, train_dense
from pipeline.feeding.views import Views
from pipeline.nn.backbones.trunk import Trunk
from pipeline.params.reading import Params
from tests.parity.test_export import textured
from tests.ssd_models import AS_TORCHVISION, make_thin, parts_of, ssd_params, torchvision_ssd

pytestmark = pytest.mark.authority("torchvision")

SIDE, CLASSES = 300, 5


@dataclass(frozen=True)
class Both:
    """The model, and our parts with its weights."""

    model: SSD
    trunk: Trunk
    head: DenseHead
    params: Params
    classes: int

    def truths(self, draw: np.random.Generator) -> list[Truth]:
        """Of two images."""
        found = []
        for count in (7, 3):
            low = draw.uniform(0, 220, (count, 2))
            high = np.minimum(low + draw.uniform(8, 200, (count, 2)), SIDE)
            boxes = np.concatenate([low, high], axis=1).astype(np.float32)
            found.append(Truth(boxes, draw.integers(1, self.classes, count), np.zeros((0, 4), np.float32)))
        return found

    def targets(self, truths: list[Truth]) -> BatchTargets:
        """By our matching."""
        grid = self.head.locations.of(SIDE, SIDE)
        stored = []
        for truth in truths:
            own = dense_targets.assign(truth, grid, (SIDE, SIDE), self.params)
            fg = np.flatnonzero(own.labels > 0)
            assert not (own.labels < 0).any()
            bits = np.packbits(np.zeros(len(grid), bool))
            stored.append(StoredAssignment(fg, own.labels[fg], own.matched_gt[fg], own.quality[fg], bits, grid))
        return put_together(stored, truths, [(SIDE, SIDE)] * len(truths), grid)


def both_of(classes: int, *, thin: bool) -> Both:
    params = ssd_params(AS_TORCHVISION)
    model = torchvision_ssd(classes, thin=thin)
    return Both(model, *parts_of(model, params, classes), params, classes)


@pytest.fixture(scope="module")
def both() -> Both:
    with pytest.MonkeyPatch.context() as patch:
        make_thin(patch)
        return both_of(CLASSES, thin=True)


@pytest.mark.parametrize("clip", ["sides", "none"])
def test_default_boxes_are_torchvisions(both: Both, clip: str) -> None:
    params = ssd_params(AS_TORCHVISION, {"ssd": {"clip": clip}})
    grid = both.head.locations.of(SIDE, SIDE)
    generator = both.model.anchor_generator
    maps = [torch.zeros(1, 1, *cells) for cells in grid.cells]
    clipped, generator.clip = generator.clip, clip == "sides"
    (theirs,) = generator(ImageList(torch.zeros(1, 3, SIDE, SIDE), [(SIDE, SIDE)]), maps)
    generator.clip = clipped
    ours = torch.from_numpy(default_boxes.default_boxes(grid, (SIDE, SIDE), params.ssd))
    torch.testing.assert_close(theirs.double(), ours, rtol=0, atol=2e-4)  # theirs are shares in float32
    torch.testing.assert_close(head.default_boxes(grid, (SIDE, SIDE), params.ssd).double(), ours, rtol=0, atol=5e-5)


def images(*seeds: int) -> Tensor:
    return torch.stack([textured(SIDE, SIDE, seed) for seed in seeds])


def check_outputs(both: Both, pixels: Tensor) -> None:
    normalised = both.trunk.normalise(pixels, [(SIDE, SIDE)] * len(pixels))
    with torch.no_grad():
        maps, theirs = both.trunk(normalised), list(both.model.backbone(normalised).values())
        outputs, expected = both.head(maps), both.model.head(theirs)
    for own, level in zip(maps, theirs, strict=True):
        torch.testing.assert_close(own, level, rtol=1e-5, atol=1e-5 * float(level.abs().max()))
    for name, theirs_name in (("classes", "cls_logits"), ("deltas", "bbox_regression")):
        assert float(outputs[name].std()) > 0.05
        torch.testing.assert_close(outputs[name], expected[theirs_name], rtol=1e-5, atol=1e-5)


def check_losses(both: Both, pixels: Tensor) -> None:
    truths = both.truths(np.random.default_rng(0))
    told = [{"boxes": torch.from_numpy(own.boxes), "labels": torch.from_numpy(own.labels)} for own in truths]
    model = both.model.train()  # which has no norm nor dropout
    expected = model([own.float() / 255 for own in pixels], told)
    model.eval()
    outputs, _ = outputs_of(both.trunk, both.head, Views([], [(SIDE, SIDE)] * len(pixels), images=pixels))
    targets = both.targets(truths)
    assert len(targets.fg) > 20
    own = train_dense.losses(both.head, outputs, targets, both.params)
    torch.testing.assert_close(own["ssd_class"], expected["classification"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(own["ssd_box"], expected["bbox_regression"], rtol=1e-5, atol=1e-5)


def detections(both: Both, pixels: Tensor) -> Pairs:
    network = DenseDetector(both.trunk, both.head, detect_dense, both.params)  # type: ignore[arg-type]
    (own,) = network(pixels[None], [(SIDE, SIDE)], [(1.0, 1.0)])
    with torch.no_grad():
        (theirs,) = both.model([pixels.float() / 255])
    rule = both.params.detect_ssd
    boxes = [Boxes(own.boxes, own.scores, own.labels), Boxes(theirs["boxes"], theirs["scores"], theirs["labels"])]
    return pair(*boxes, floor=rule.score_threshold, nms_iou=rule.nms_iou, most=rule.per_image)


def test_maps_and_outputs_are_torchvisions(both: Both) -> None:
    check_outputs(both, images(0, 1))


def test_losses_are_torchvisions(both: Both) -> None:
    check_losses(both, images(2, 3))


def test_detections_are_torchvisions(both: Both) -> None:
    found = detections(both, images(4)[0])
    assert found.count > 100 and not found.unpaired, found.unpaired


@pytest.mark.long
def test_so_are_those_of_all_channels() -> None:
    full = both_of(91, thin=False)
    check_outputs(full, images(0))
    check_losses(full, images(2, 3))
    found = detections(full, images(4)[0])
    assert found.count > 100 and not found.unpaired, found.unpaired
