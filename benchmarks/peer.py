"""torchvision's own Faster R-CNN on VGG16, taken apart into what step 1 and step 2 train.

As it ships: float32, its default layout, its own transform (normalising, resizing, padding to multiples of 32), its own
assignment, sampling and RoIAlign inside of each forward pass, SGD as its reference training builds it. Two things are
granted to it: conv1 and conv2 are frozen, and its images are decoded, resized and mirrored before the clock starts.

Shapes: H, W image height, width; G gt boxes; P proposals of one image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torchvision.models import vgg16
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

from benchmarks.photos import Photos
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.weights import load_part
from pipeline.runtime.device import gpu_or_cpu

Target = dict[str, Tensor]
Losses = dict[str, Tensor]
PeerBatch = tuple[list[Tensor], list[Target], list[Tensor]]
_FROZEN_LAYERS = 10  # of vgg16().features: conv1 and conv2, with their poolings


def build_peer(photos: Photos, num_classes: int) -> FasterRCNN:
    """Its network with ImageNet's trunk, and the anchors, sample counts and head of the photos' parameters."""
    params = photos.params
    trunk = vgg16().features[:-1]
    state = load_part(photos.data / "backbone", "trunk")
    own = {name: state[f"layers.{name}"] for name in trunk.state_dict()}
    trunk.load_state_dict(own)
    trunk[:_FROZEN_LAYERS].requires_grad_(False)
    trunk.out_channels = 512
    sizes = tuple(params.anchors.base_size * scale for scale in params.anchors.scales)
    return FasterRCNN(
        trunk,
        min_size=params.resize.shorter_side,
        max_size=params.resize.longer_side,
        rpn_anchor_generator=AnchorGenerator((sizes,), (tuple(params.anchors.ratios),)),
        rpn_batch_size_per_image=params.rpn.anchors_per_image,
        box_roi_pool=MultiScaleRoIAlign(["0"], params.roi_head.output_size, 2),
        box_head=TwoMLPHead(512 * params.roi_head.output_size**2, params.roi_head.hidden),
        box_predictor=FastRCNNPredictor(params.roi_head.hidden, num_classes),
        box_batch_size_per_image=params.roi_head.rois_per_image,
    )


def decoded(photos: Photos, entries: Sequence[Entry]) -> tuple[list[Tensor], list[Target]]:
    """(3, H, W) float images in 0..1 and their gt, as its forward pass wants them."""
    images, gt = photos.images(), GroundTruth(photos.data / "resize")
    pixels = [torch.from_numpy(images.pixels(e).copy()).permute(2, 0, 1).contiguous() / 255 for e in entries]
    targets = [
        {
            "boxes": torch.from_numpy(gt.boxes(entry, images[entry.image_id].size[1]).copy()),
            "labels": torch.from_numpy(gt[entry.image_id][1]),
        }
        for entry in entries
    ]
    return pixels, targets


class PeerRPN(nn.Module):
    """Trunk and RPN: what step 1 trains."""

    def __init__(self, model: FasterRCNN) -> None:
        super().__init__()
        self.transform, self.backbone, self.rpn = model.transform, model.backbone, model.rpn

    def forward(self, images: list[Tensor], targets: list[Target], proposals: list[Tensor]) -> Losses:
        """Its RPN losses; `proposals` are not needed."""
        batch, targets = self.transform(images, targets)
        return self.rpn(batch, {"0": self.backbone(batch.tensors)}, targets)[1]


class PeerHead(nn.Module):
    """Trunk and RoI head: what step 2 trains."""

    def __init__(self, model: FasterRCNN) -> None:
        super().__init__()
        self.transform, self.backbone, self.roi_heads = model.transform, model.backbone, model.roi_heads

    def forward(self, images: list[Tensor], targets: list[Target], proposals: list[Tensor]) -> Losses:
        """Its RoI losses on (P, 4) proposals of each image."""
        batch, targets = self.transform(images, targets)
        return self.roi_heads({"0": self.backbone(batch.tensors)}, proposals, batch.image_sizes, targets)[1]


def _to(device: torch.device, batch: PeerBatch) -> PeerBatch:
    """Granted to it as well: its batches lie on the device before the clock starts."""
    images, targets, proposals = batch
    moved = [{name: value.to(device) for name, value in target.items()} for target in targets]
    return [image.to(device) for image in images], moved, [boxes.to(device) for boxes in proposals]


def peer_loop(
    module: nn.Module,
    batches: Sequence[PeerBatch],
    lr: float,
    *,
    bf16: bool,
) -> Callable[[], None]:
    """A training of one iteration a batch, of a module from a batch to losses. With `bf16`: the same autocast, layout,
    fused SGD and clipping as ours."""
    if bf16:
        module.to(memory_format=torch.channels_last)
    device = gpu_or_cpu()
    module.to(device).train()
    batches = [_to(device, batch) for batch in batches]
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=lr, momentum=0.9, weight_decay=5e-4, fused=True if bf16 else None)

    def run() -> None:
        for images, targets, proposals in batches:
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                losses = module(images, targets, proposals)
            loss = torch.stack([value.float() for value in losses.values()]).sum()
            if not torch.isfinite(loss):
                raise FloatingPointError("the peer's loss is not finite")
            optimiser.zero_grad()
            loss.backward()
            if bf16:
                torch.nn.utils.clip_grad_norm_(trained, 10.0)
            optimiser.step()

    return run
