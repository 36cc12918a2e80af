"""Chooses the images for a stage's panels: one by its name, or the first with gt boxes."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from pipeline.artifacts.dataset_tables import DATASET_BOXES, DATASET_IMAGES
from pipeline.artifacts.draws import has_draws
from pipeline.artifacts.image_views import Entry, entry_named
from pipeline.artifacts.resized_tables import RESIZED_BOXES, RESIZED_IMAGES
from pipeline.artifacts.tables import read_columns
from pipeline.graphs.command import StageCommand
from pipeline.runtime.errors import InputError
from pipeline.views.panels.registry import image_panels
from pipeline.views.panels.request import images_folder
from pipeline.views.samples import ImageIndex

_NEAR = 4


def entry_of(command: StageCommand, root: Path, name: str) -> Entry:
    """The image of a name, `ID`, `ID.mirrored`, `ID.view2` ... or `ID.drawn`, where the stage has it.

    Raises:
        InputError: there is no such image, or none of the splits that the stage works on, or it has no such view;
            images that it has are named, those of a like name first.
    """
    panels, schema = image_panels(command, root), _schemas(command)[0]
    names = [name for name in ("image_id", "split", "view") if name in schema.names]
    columns = read_columns(images_folder(command, root) / "images.parquet", schema, names)
    split_of = dict(zip(columns["image_id"].tolist(), columns["split"].tolist(), strict=True))
    own = sorted(image_id for image_id, split in split_of.items() if split in panels.splits)
    entry = Entry(name) if name in split_of else entry_named(name)
    image_id = entry.image_id
    if image_id not in split_of:
        raise InputError(f"no image {name!r}; {command.stage} has {_examples(own, image_id)}")
    if split_of[image_id] not in panels.splits:
        reason = f"{image_id!r} is a {split_of[image_id]} image"
        raise InputError(
            f"{reason}; {command.stage} works on {' and '.join(panels.splits)}: {_examples(own, image_id)}"
        )
    if entry.view and panels.plain:
        raise InputError(f"{command.stage} has no mirrors and no further scales; name it {image_id}")
    if entry.drawn and not has_draws(root / command.out):
        raise InputError(
            f"{command.stage} has no drawn views of its images; a targets stage has them where section augment draws "
            f"training images. Name it {image_id}"
        )
    if entry.scale and entry.stored.view not in columns["view"][columns["image_id"] == image_id]:
        raise InputError(f"image {image_id!r} is not stored at so many scales; resize.extra_sides are the further ones")
    return entry


def first_entries(command: StageCommand, root: Path, count: int) -> list[Entry]:
    """The first images of the stage, those with gt boxes before others.

    Raises:
        InputError: it is of no single images, or there are none.
    """
    index = ImageIndex(images_folder(command, root), *_schemas(command))
    return index.choose(image_panels(command, root).splits, count)


def _schemas(command: StageCommand) -> tuple[pa.Schema, pa.Schema]:
    """Those of images.parquet and boxes.parquet in the folder of the stage's images."""
    if command.module == "dataset":
        return DATASET_IMAGES, DATASET_BOXES
    return RESIZED_IMAGES, RESIZED_BOXES


def _examples(ids: Sequence[str], name: str) -> str:
    """How many images there are, and those whose names begin most like the name."""
    place = bisect.bisect_left(ids, name)
    around = ids[max(0, place - _NEAR) : place + _NEAR]
    nearest = sorted(around, key=lambda own: -_alike(own, name))[:_NEAR]
    return f"{len(ids):,} images, among them {', '.join(sorted(nearest))}" if ids else "no images"


def _alike(one: str, other: str) -> int:
    """Number of letters at the start that both share."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
