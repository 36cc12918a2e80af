"""Proposals from a file of another codebase, used instead of the RPN's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.artifacts.resized_images import ImageInfo
from pipeline.exchange.image_names import ImageNames, image_files
from pipeline.exchange.proposal_files import Proposals, read_proposal_file
from pipeline.runtime.errors import InputError


def read_external_proposals(folder: Path, dataset: Path, image_ids: Sequence[str]) -> tuple[dict[str, Proposals], int]:
    """The proposals of some images, by image_id, from the one file in data/external_proposals.

    A file that names its images may hold others as well, which are left out. A list without names must hold the images
    of `image_ids`, in their order.

    Args:
        folder: holds the file, or a link to it.
        dataset: folder of the dataset stage, which knows the images' files.
        image_ids: the images that need proposals, in ascending order.

    Returns:
        Proposals in pixels of the original images, and how many of the file's images are left out.

    Raises:
        InputError: there is no file or more than one, it cannot be read, or an image is not in it or in it twice.
    """
    files = sorted(path for path in Path(folder).iterdir() if not path.name.startswith("."))
    if len(files) != 1:
        raise InputError(
            f"{folder}: holds {len(files)} files where one proposal file is needed; "
            "give proposals.file=PATH to frcnn preset, or set proposals.source to rpn"
        )
    path = files[0]
    content = read_proposal_file(path)
    if content.names is None:
        if len(content.entries) != len(image_ids):
            raise InputError(
                f"{path}: holds {len(content.entries)} images without names, there are {len(image_ids)} training "
                "images; write them by ascending image_id, or use a layout with names"
            )
        return dict(zip(image_ids, content.entries, strict=True)), 0
    names = ImageNames(image_files(dataset))
    wanted, found = set(image_ids), {}
    for name, entry in zip(content.names, content.entries, strict=True):
        image_id = names.find(name)
        if image_id in found:
            raise InputError(f"{path}: image {image_id!r} is in it twice, last as {name!r}; remove one")
        if image_id in wanted:
            found[str(image_id)] = entry
    missing = [image_id for image_id in image_ids if image_id not in found]
    if missing:
        raise InputError(
            f"{path}: has no proposals for training image {missing[0]!r} and {len(missing) - 1} others of "
            f"{len(image_ids)}; an image without proposals needs an empty entry (docs/artifacts.md lists the names)"
        )
    return found, len(content.entries) - len(found)


def to_resized(proposals: Proposals, image: ImageInfo, most: int, min_size: float) -> Proposals:
    """Proposals of the original image as those of the resized one: clipped, the small ones dropped, the best kept.

    Args:
        proposals: the best first, pixels of the original image.
        most: how many are kept.
        min_size: least width and height, pixels of the original image.
    """
    scale = np.array([*image.scale, *image.scale], dtype=np.float32)
    height, width = image.size
    limits = np.array([width, height, width, height], dtype=np.float32)
    boxes = np.clip(proposals.boxes * scale, 0, limits)
    # As for the RPN's proposals: a loss cannot use a box without area, even if there is no least size.
    large = (boxes[:, 2:] - boxes[:, :2] >= np.maximum(min_size * scale[:2], 1e-3)).all(axis=1)
    return Proposals(boxes[large][:most], proposals.scores[large][:most])
