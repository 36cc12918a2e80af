"""Our proposals as a file that detectron2 or mmdetection loads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.proposals import StoredProposals
from pipeline.artifacts.resized_images import ImageInfo, ResizedImages
from pipeline.datasets.base import SPLITS
from pipeline.exchange.image_names import image_files
from pipeline.exchange.proposal_files import LAYOUTS, Proposals, write_proposal_file
from pipeline.families.registry import present_family
from pipeline.runtime.errors import InputError


def check_proposes(root: Path, source: Path) -> None:
    """See that the project in `root` may have proposals in the folder `source`.

    Raises:
        InputError: its family has no section `proposals`, and there is no such folder.
    """
    if source.is_dir() or not (root / "params.yaml").is_file():
        return
    family = present_family(root)
    if "proposals" not in family.sections:
        raise InputError(
            f"{family.title}: detects without proposals, so that there are none to export; give a folder with those of "
            "another family by --from"
        )


def export_proposals(
    source: Path, resize: Path, dataset: Path, layout: str, out: Path, split: str | None = None
) -> str:
    """Write the proposals of a proposals or detect stage, without mirrors, in pixels of the original images.

    All images of the split are written, by ascending image_id, those without proposals with empty arrays.

    Args:
        source: folder with proposals.parquet. resize, dataset: folders of those stages.
        layout: one of `proposal_files.LAYOUTS`. out: the file to write.
        split: train, val or test; None takes the first of train, test and val that has proposals.

    Returns:
        A line on what was written.

    Raises:
        InputError: an unknown layout or split, a missing folder or table, no proposals, or two images of one name.
    """
    if layout not in LAYOUTS:
        raise InputError(f"no format {layout!r}; there are {', '.join(LAYOUTS)}")
    if split is not None and split not in SPLITS:
        raise InputError(f"no split {split!r}; there are {', '.join(SPLITS)}")
    out = Path(out)
    if not out.parent.is_dir() or out.is_dir():
        raise InputError(f"{out}: no file can be written there; name a file in a folder that exists")
    stored = StoredProposals(source)
    for own in (split,) if split else ("train", "test", "val"):
        images = list(ResizedImages(resize, own))
        entries = [_to_original(stored, image) for image in images]
        if any(len(entry.boxes) for entry in entries):
            break
    else:
        if split:
            raise InputError(
                f"{source}: its proposals.parquet holds no proposals of {split} images; those of train are in the "
                "folders of the proposals stages, those of val and test in the folders of the detect stages"
            )
        raise InputError(f"{source}: its proposals.parquet holds no proposals of the images in {resize}; run both anew")
    names = [image.image_id for image in images]
    if layout == "mmdetection":
        files = image_files(dataset)
        # mmdetection 3 looks an image up by its file's name and the folder that holds it.
        names = ["/".join(files[image_id].parts[-2:]) for image_id in names]
        name, count = Counter(names).most_common(1)[0]
        if count > 1:
            raise InputError(f"{name}: {count} images have this name in mmdetection; use mmdetection2 or detectron2")
    write_proposal_file(out, layout, names, entries)
    total = sum(len(entry.boxes) for entry in entries)
    return f"{out}: {total} proposals in {len(images)} {own} images, for {layout}"


def _to_original(stored: StoredProposals, image: ImageInfo) -> Proposals:
    own = stored[Entry(image.image_id)]
    if not len(own):
        return Proposals(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    height, width = image.original_size
    limits = np.array([width, height, width, height], dtype=np.float32)
    boxes = np.clip(own.boxes / np.array([*image.scale, *image.scale], dtype=np.float32), 0, limits)
    return Proposals(boxes, own.scores.astype(np.float32))
