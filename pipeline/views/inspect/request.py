"""What a panel is to show: a stage, an image, and from which score on detections are shown."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.artifacts.dataset_tables import DATASET_IMAGES
from pipeline.artifacts.image_views import Entry, entry_named
from pipeline.artifacts.resized_tables import RESIZED_IMAGES
from pipeline.artifacts.tables import read_columns
from pipeline.errors import InputError
from pipeline.geometry.backbones import layout_of
from pipeline.geometry.layout import MapLayout
from pipeline.params.reading import Params
from pipeline.views.command import StageCommand
from pipeline.views.inspect.artifact import DeclaredGraph
from pipeline.views.samples import NetworkImages

_NEAR = 4
_ALL = ("train", "val", "test")
_SPLITS = {"detect": ("val", "test"), "evaluate": ("val", "test"), "dataset": _ALL, "resize": _ALL}


@dataclass(frozen=True)
class PanelRequest:
    """A stage's command in the project's folder, one image, the score, the graph, which names related stages, and all
    parameters."""

    command: StageCommand
    root: Path
    entry: Entry
    score: float
    graph: DeclaredGraph
    params: Params

    @property
    def folder(self) -> Path:
        """The stage's folder."""
        return self.root / self.command.out

    @cached_property
    def images(self) -> NetworkImages:
        """The resize stage's images."""
        own = self.command.out if self.command.module == "resize" else self.command.input("resize")
        return NetworkImages(self.root / own)

    @property
    def layout(self) -> MapLayout:
        """The levels of the trunk's maps."""
        return layout_of(self.params.backbone.name, ceil_pool=self.params.backbone.ceil_pool)

    @property
    def name(self) -> str:
        """The image, as captions call it."""
        return self.entry.caption


def entry_of(command: StageCommand, root: Path, name: str) -> Entry:
    """The image of a name, `ID`, `ID.mirrored` or `ID.view2` ..., where the stage has it.

    Raises:
        InputError: there is no such image, or none of the splits that the stage works on, or it has no such view;
            images that it has are named, those of a like name first.
    """
    module = command.module
    folder = root / (command.out if module in ("dataset", "resize") else command.input("resize"))
    schema = DATASET_IMAGES if module == "dataset" else RESIZED_IMAGES
    splits = _SPLITS.get(module, ("train",))
    names = [name for name in ("image_id", "split", "view") if name in schema.names]
    columns = read_columns(folder / "images.parquet", schema, names)
    split_of = dict(zip(columns["image_id"].tolist(), columns["split"].tolist(), strict=True))
    own = sorted(image_id for image_id, split in split_of.items() if split in splits)
    entry = Entry(name) if name in split_of else entry_named(name)
    image_id = entry.image_id
    if image_id not in split_of:
        raise InputError(f"no image {name!r}; {command.stage} has {_examples(own, image_id)}")
    if split_of[image_id] not in splits:
        reason = f"{image_id!r} is a {split_of[image_id]} image"
        raise InputError(f"{reason}; {command.stage} works on {' and '.join(splits)}: {_examples(own, image_id)}")
    if entry.view and module in ("dataset", "detect", "evaluate"):
        raise InputError(f"{command.stage} has no mirrors and no further scales; name it {image_id}")
    if entry.scale and entry.stored.view not in columns["view"][columns["image_id"] == image_id]:
        raise InputError(f"image {image_id!r} is not stored at so many scales; resize.extra_sides are the further ones")
    return entry


def _examples(ids: Sequence[str], name: str) -> str:
    """How many images there are, and those whose names begin most like the name."""
    place = bisect.bisect_left(ids, name)
    around = ids[max(0, place - _NEAR) : place + _NEAR]
    nearest = sorted(around, key=lambda own: -_alike(own, name))[:_NEAR]
    return f"{len(ids):,} images, among them {', '.join(sorted(nearest))}" if ids else "no images"


def _alike(one: str, other: str) -> int:
    """Letters that both begin with."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
