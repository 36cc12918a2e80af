"""Panels of the training stages: the anchors or RoIs that a training drew from an image in one epoch.

They come from the samplers that the stages themselves use, so the picture shows the very sample that was trained on.
The samplers need torch, which is imported only here.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from pipeline.artifacts.anchor_targets import AnchorTargets
from pipeline.artifacts.proposal_targets import ProposalTargets
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.families.faster_rcnn.training.rpn_entries import entries_with_gt
from pipeline.params.schedule import Schedule
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text
from pipeline.training.order import EpochOrder
from pipeline.views.class_boxes import class_name
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import ORANGE, SKY_BLUE, WHITE, BoxLayer, Colour, calmed, draw_boxes
from pipeline.views.panels.anchors import checked_anchors
from pipeline.views.panels.image_panels import DrawnSample
from pipeline.views.panels.request import PanelRequest, images_folder
from pipeline.views.stored_anchors import assignment_of

if TYPE_CHECKING:
    from pipeline.artifacts.image_views import Entry
    from pipeline.families.faster_rcnn.training.anchor_samples import AnchorSample
    from pipeline.families.faster_rcnn.training.roi_samples import RoISample


def anchor_sample(request: PanelRequest, stage: str, epoch: int) -> AnchorSample:
    """The anchors that a stage draws from the request's image in an epoch counted from 0.

    Args:
        request: of the anchor_targets stage. stage: the training, whose name is part of the seed.
    """
    from pipeline.families.faster_rcnn.training.anchor_samples import AnchorSampler

    rpn, seed = request.params.rpn, request.params.base.seed
    targets = AnchorTargets(request.folder)
    return AnchorSampler(targets, rpn.anchors_per_image, rpn.fg_fraction, seed, stage).draw(epoch, request.entry)


def roi_sample(request: PanelRequest, stage: str, epoch: int) -> RoISample:
    """The RoIs that a stage draws from the request's image in an epoch counted from 0.

    Args:
        request: of the proposal_targets stage. stage: the training, whose name is part of the seed.
    """
    from pipeline.families.faster_rcnn.training.roi_sampler import RoISampler

    head, seed = request.params.roi_head, request.params.base.seed
    targets = ProposalTargets(request.folder)
    return RoISampler(targets, head.rois_per_image, head.fg_fraction, seed, stage).draw(epoch, request.entry)


def anchor_sample_panels(request: PanelRequest, stage: str, epoch: int) -> list[Tile]:
    """The fg and the bg anchors that a stage drew."""
    sizes = _sizes(request)
    targets, rpn = AnchorTargets(request.folder), request.params.rpn
    kept = entries_with_gt(sizes, targets, rpn, _schedule(request, stage), stage)
    if request.entry not in kept:
        raise InputError(
            f"{request.name} has no gt box to train on, and {stage} leaves such images out "
            "(rpn.images_without_gt: drop); name another image"
        )
    when = _when(request, kept, stage, epoch)
    gt_boxes = request.images.gt_of(request.entry).trainable.boxes
    assigned, pixels = assignment_of(request.folder, request.entry, gt_boxes), request.images.pixels(request.entry)
    anchors = checked_anchors(request, assigned, pixels.shape[:2])
    own = anchor_sample(request, stage, epoch)
    fg, bg = own.fg.numpy(), own.bg.numpy()
    return [
        _panel(
            request,
            pixels,
            gt_boxes,
            anchors[fg],
            ORANGE,
            "fg anchor",
            f"{request.name}, {when}: {len(fg)} of {count_text(len(assigned.fg), 'fg anchor')} drawn",
        ),
        _panel(
            request,
            pixels,
            gt_boxes,
            anchors[bg],
            SKY_BLUE,
            "bg anchor",
            f"{len(bg)} of {count_text(int(assigned.is_bg.sum()), 'bg anchor')} drawn, "
            f"{len(fg) + len(bg)} anchors in all",
        ),
    ]


def roi_sample_panels(request: PanelRequest, stage: str, epoch: int) -> list[Tile]:
    """The fg and the bg RoIs that a stage drew."""
    when = _when(request, _sizes(request), stage, epoch)
    pixels, gt = request.images.pixels(request.entry), request.images.gt_of(request.entry).trainable
    labels = ProposalTargets(request.folder)[request.entry].labels
    own = roi_sample(request, stage, epoch)
    boxes, drawn = own.rois.numpy(), own.labels.numpy()
    names = request.images.class_names()
    counts = Counter(class_name(names, int(label)) for label in np.sort(drawn[drawn > 0]))
    of_classes = f" ({', '.join(f'{name} {count}' for name, count in counts.items())})" if counts else ""
    fg, bg = boxes[drawn > 0], boxes[drawn == 0]
    return [
        _panel(
            request,
            pixels,
            gt.boxes,
            fg,
            ORANGE,
            "fg RoI",
            f"{request.name}, {when}: {len(fg)} of {count_text(int((labels > 0).sum()), 'fg RoI')} drawn{of_classes}",
        ),
        _panel(
            request,
            pixels,
            gt.boxes,
            bg,
            SKY_BLUE,
            "bg RoI",
            f"{len(bg)} of {count_text(int((labels == 0).sum()), 'bg RoI')} drawn, {len(boxes)} RoIs in all",
        ),
    ]


def joint_sample_panels(request: PanelRequest, stage: str, epoch: int) -> list[Tile]:
    """The anchors that joint training drew. Its RoIs come from the network as it was at that iteration, which nothing
    keeps."""
    fg, bg = anchor_sample_panels(request, stage, epoch)
    note = (
        "; the RoIs were drawn from proposals of the network as it was then, which are not kept (the detect stages "
        "show those of the trained network)"
    )
    return [fg, bg._replace(caption=bg.caption + note)]


def _schedule(request: PanelRequest, stage: str) -> Schedule:
    """The section of the stage's name."""
    own = request.params.sections()[stage]
    assert isinstance(own, Schedule)
    return own


def _sizes(request: PanelRequest) -> dict[Entry, tuple[int, int]]:
    """The (H, W) of all entries that there are to train on, in the order in which stages have them."""
    images = ResizedImages(images_folder(request.command, request.root), "train")
    return {entry: images.seen(entry).size for entry in images.entries(request.params.base.mirror)}


def _when(request: PanelRequest, sizes: dict[Entry, tuple[int, int]], stage: str, epoch: int) -> str:
    """The epoch and the iteration that the stage trained on the request's image in.

    Raises:
        InputError: the stage has no such epoch, or does not train on the image in it.
    """
    params, schedule = request.params, _schedule(request, stage)
    landscape = [width >= height for height, width in sizes.values()]
    order = EpochOrder(list(sizes), landscape, schedule.images_per_iteration, params.base.seed, stage)
    each, total = order.batches_per_epoch, schedule.iterations
    epochs = -(-total // each)
    if epoch >= epochs:
        raise InputError(
            f"--draw {epoch + 1}: {stage} trains for {total:,} iterations, {each:,} per epoch; give a number from 1 to "
            f"{epochs}"
        )
    for iteration in range(epoch * each, min((epoch + 1) * each, total)):
        if request.entry in order(iteration)[1]:
            return f"epoch {epoch + 1} of {stage}, iteration {iteration + 1:,} of {total:,}"
    reason = "training ends before its turn" if (epoch + 1) * each > total else "it was left over from the last batch"
    raise InputError(
        f"--draw {epoch + 1}: {stage} does not train on {request.name} in this epoch, as {reason}; give another epoch "
        "or another image"
    )


def _panel(
    request: PanelRequest,
    pixels: np.ndarray,
    gt_boxes: np.ndarray,
    boxes: np.ndarray,
    colour: Colour,
    name: str,
    caption: str,
) -> Tile:
    """The drawn boxes of a kind, over the gt boxes."""
    layers = [
        BoxLayer(boxes, colour, thickness=1),
        BoxLayer(gt_boxes, WHITE, thickness=3, dash="dashed"),
    ]
    keys = [Key(colour, name, "solid"), Key(WHITE, "gt box", "dashed")]
    return Tile(draw_boxes(calmed(pixels), layers, request.side), caption, keys)


ANCHORS = DrawnSample("anchor_targets", anchor_sample_panels)
ROIS = DrawnSample("proposal_targets", roi_sample_panels)
JOINT = DrawnSample("anchor_targets", joint_sample_panels)
