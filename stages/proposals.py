"""Let a trained RPN propose boxes for every training image: after step 1 from images, after step 3 from the maps of
step 2's trunk, which are cached, or computed again if `features.keep` is none.

If `proposals.source` is `file`, another codebase's proposals are used instead of the RPN's. Writes
proposals.parquet, in pixels of the resized image, best first, and the RPN's objectness maps with images.parquet, their
index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.maps import MapWriter
from pipeline.artifacts.proposals import ProposalWriter
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.building.anchors import anchor_grid
from pipeline.building.layout import map_layout
from pipeline.building.trunk import load_trunk
from pipeline.exchange.importing import read_external_proposals, to_resized
from pipeline.families.faster_rcnn.building.rpn import load_rpn
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule
from pipeline.families.faster_rcnn.nn.proposer import Proposer
from pipeline.families.faster_rcnn.params.features import FeatureParams
from pipeline.families.faster_rcnn.params.proposals import ProposalParams
from pipeline.families.faster_rcnn.params.rpn import RPNParams
from pipeline.families.faster_rcnn.params.typed import typed
from pipeline.feeding.at_once import groups_of_one_size, in_order
from pipeline.feeding.by_scale import views_by_scale
from pipeline.feeding.frozen_trunk import FrozenTrunk, SharedMaps
from pipeline.feeding.maps import maps_of
from pipeline.feeding.prefetching import to_device
from pipeline.feeding.sources import trunk_source
from pipeline.feeding.views import Views, ViewSource
from pipeline.nn.backbones.trunk import Trunk
from pipeline.nn.boxes import mirror
from pipeline.params.anchors import AnchorParams
from pipeline.params.backbone import BackboneParams
from pipeline.params.base import Base
from pipeline.runtime.inference import for_inference
from pipeline.runtime.launcher import launch
from pipeline.runtime.processes import over_processes
from pipeline.runtime.progress import track
from pipeline.runtime.stage import Stage, run_stage
from pipeline.runtime.words import count_text


class _Found(NamedTuple):
    """What was found in an entry: (P, 4) `boxes` in resized pixels, their (P,) `scores`, and where the RPN has seen it
    the (Fh, Fw) `objectness` of each level."""

    entry: Entry
    boxes: torch.Tensor
    scores: torch.Tensor
    objectness: Sequence[torch.Tensor] = ()


def proposals(stage: Stage) -> None:
    """Propose for each image, and for its mirror by running the RPN again or by mirroring the boxes."""
    # Those of a file are counted while they are read, and take no time.
    write = _write if typed(stage.params).proposals.source == "file" else over_processes(_write)
    write(stage)


def _write(stage: Stage) -> None:
    images = ResizedImages(stage.input("resize"), "train")
    ids = [image.image_id for image in images]
    with ChunkedWork(stage.out, ids, stage.log, share=stage.share) as work, torch.inference_mode():
        writer = ProposalWriter(work)
        if typed(stage.params).proposals.source == "file":
            found, maps = _from_file(stage, images, work), None
        else:
            found = _from_rpn(stage, images, work)
            maps = MapWriter(work, "objectness", len(map_layout(stage.params.backbone).levels))
        for entries in work.through(found):
            for entry, boxes, scores, objectness in entries:
                writer.add(entry, boxes.cpu().numpy(), scores.cpu().numpy())
                if maps is not None and objectness:
                    levels = [level.cpu().numpy().astype(np.float16) for level in objectness]
                    maps.add({entry: levels}, images.seen(entry).size)
    stage.log(f"{count_text(writer.count, 'proposal')} in {images.described(stage.params.base.mirror)}")


def _from_rpn(stage: Stage, images: ResizedImages, work: ChunkedWork) -> Iterator[list[_Found]]:
    params = typed(stage.params).proposals
    accelerator = launch(stage.params.base)
    trunk: Trunk | FrozenTrunk | None
    source: ViewSource
    if stage.inputs["features"] is not None:
        shared = SharedMaps(stage, accelerator)
        source, trunk = shared.source, shared.trunk
    else:
        source = trunk_source(stage, images)
        trunk = for_inference(load_trunk(stage.input("trunk"), stage.params.backbone), accelerator)
    layout = map_layout(stage.params.backbone)
    rpn = load_rpn(stage.input("rpn"), layout, typed(stage.params).anchors, typed(stage.params).rpn)
    rule = ProposalRule(params.pre_nms, params.nms_iou, params.post_nms, params.min_size, params.cut_first)
    propose = Proposer(for_inference(rpn, accelerator), anchor_grid(typed(stage.params).anchors, layout), rule)
    seen = images.views(stage.params.base.mirror and params.mirrored == "recomputed")
    mirrors = stage.params.base.mirror and params.mirrored == "mirrored"

    def found_in(scales: Sequence[Views]) -> list[list[_Found]]:
        """What is found in each image of a group, scale by scale."""
        of_images: dict[str, list[_Found]] = {}
        for views in (to_device(own, accelerator.device) for own in scales):
            # Of one size, but not always from one: each image has a scale of its own.
            infos = [images.seen(entry) for entry in views.entries]
            with accelerator.autocast():
                proposed = propose(maps_of(trunk, views), views.sizes, [info.scale for info in infos])
            for entry, info, own in zip(views.entries, infos, proposed, strict=True):
                found = of_images.setdefault(entry.image_id, [])
                found.append(_Found(entry, own.boxes, own.scores, own.objectness))
                if mirrors:
                    found.append(_Found(entry.mirror, mirror(own.boxes, info.size[1]), own.scores))
        return list(of_images.values())

    groups = groups_of_one_size(images, work.left, params.images_at_once)
    found = in_order(work.missing, groups, map(found_in, views_by_scale(source, groups, seen, params.images_at_once)))
    yield from track(found, stage.name, len(images), done=work.found)


def _from_file(stage: Stage, images: ResizedImages, work: ChunkedWork) -> Iterator[list[_Found]]:
    params = typed(stage.params).proposals
    ids = [image.image_id for image in images]
    external, left_out = read_external_proposals(stage.linked("external"), stage.input("dataset"), ids)
    if left_out:
        stage.log(f"{count_text(left_out, 'image')} of the proposal file left out: no training image has that name")
    given = kept = 0
    for image_id in track(work.missing, stage.name, len(ids), done=work.found):
        given, entries = given + len(external[image_id].boxes), []
        for entry in (Entry(image_id, view) for view in images.views(mirror=False)):
            image = images.seen(entry)
            own = to_resized(external[image_id], image, params.post_nms, params.min_size)
            kept += len(own.boxes) if entry.view == 0 else 0
            boxes, scores = torch.from_numpy(own.boxes), torch.from_numpy(own.scores)
            entries.append(_Found(entry, boxes, scores))
            if stage.params.base.mirror:
                entries.append(_Found(entry.mirror, mirror(boxes, image.size[1]), scores))
        yield entries
    rest = f" for the {count_text(len(ids) - work.found, 'image')} left" if work.found else ""
    stage.log(
        f"{kept} of {given} proposals of the file{rest} are kept; the others are too small or beyond proposals.post_nms"
    )


if __name__ == "__main__":
    run_stage(
        proposals,
        about=__doc__,
        sections={
            "base": Base,
            "backbone": BackboneParams,
            "anchors": AnchorParams,
            "rpn": RPNParams,
            "proposals": ProposalParams,
            "features": FeatureParams,
        },
        inputs={"resize": "folder of the resize stage", "rpn": "folder of the stage that trained the RPN"},
        optional={
            "trunk": "folder of the stage that trained the trunk; after step 3 for features.keep none",
            "frozen_features": "folder of the frozen_features stage; after step 3 for features.keep none",
            "features": "after step 3: folder of the features stage",
            "dataset": "folder of the dataset stage, for proposals from a file",
            "external": "linked folder of that file (data/external_proposals); may be empty",
        },
        resumable=True,
        images_at_once="proposals",
    )
