"""The loader for augmented training images: pixels and targets are computed in each epoch when needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from pipeline.artifacts.draws import has_draws
from pipeline.artifacts.image_views import DRAWN, Entry
from pipeline.augment.pixels import view_pixels
from pipeline.dense.assignment import as_stored, assign
from pipeline.dense.batches import DenseBatch, batch_seed
from pipeline.dense.targets import put_together
from pipeline.feeding.views import image_views
from pipeline.params.augment import SECTION
from pipeline.runtime.errors import InputError
from pipeline.runtime.family_part import check_part

if TYPE_CHECKING:
    import numpy as np

    from pipeline.artifacts.dense_targets import StoredAssignment
    from pipeline.artifacts.draws import Draws
    from pipeline.artifacts.resized_images import ResizedImages
    from pipeline.dense.assignment import Truth
    from pipeline.dense.contract import TrainPart
    from pipeline.dense.drawn import DrawnViews
    from pipeline.geometry.points import Locations
    from pipeline.params.augment import AugmentParams
    from pipeline.params.reading import Params


class DrawnLoader:
    """Makes the batch of iteration n, independent of earlier ones.

    Args:
        order: iteration to (epoch, entries), see `EpochOrder`; of the entries the images alone count.
        views: how each image is seen. stored: what the targets stage drew of the first epoch, which has to be the same.
        part: the family's `train_dense`, whose `assign` is that of the targets stage.
        locations: where the head predicts.
        seed, stage: of the run; part of every seed.
    """

    def __init__(
        self,
        order: Callable[[int], tuple[int, list[Entry]]],
        images: ResizedImages,
        views: DrawnViews,
        stored: Draws,
        part: TrainPart,
        locations: Locations,
        params: Params,
        seed: int,
        stage: str,
    ) -> None:
        self._order, self._images, self._views, self._stored = order, images, views, stored
        self._part, self._locations, self._params = part, locations, params
        self._augment: AugmentParams = params.augment
        self._seed, self._stage = seed, stage

    def __call__(self, iteration: int) -> DenseBatch:
        """The batch of an iteration.

        Raises:
            InputError: an image cannot be read, or the first epoch is not the one whose targets are stored.
        """
        epoch, entries = self._order(iteration)
        drawn = [Entry(entry.image_id, DRAWN) for entry in entries]
        pixels, truths, assigned = zip(*(self._seen(entry.image_id, epoch) for entry in drawn), strict=True)
        views = image_views(drawn, pixels)
        padded = self._locations.of_maps(*(max(side) for side in zip(*views.sizes, strict=True)))
        targets = put_together(assigned, truths, views.sizes, padded)
        return DenseBatch(views, targets, [batch_seed(self._seed, self._stage, iteration)])

    def _seen(self, image_id: str, epoch: int) -> tuple[np.ndarray, Truth, StoredAssignment]:
        own, size = self._views.draw(image_id, epoch), self._images[image_id].size
        if epoch == 0 and own != self._stored[image_id]:
            folder = self._stored.folder
            raise InputError(
                f"{folder}: holds another draw of {image_id} than this run's first epoch; rerun the stage that writes "
                f"it (dvc repro {folder.name})"
            )
        pixels = view_pixels(self._images.source(image_id), own, size, self._augment.expand.colour)
        truth, grid = self._views.truth(image_id, own), self._locations.of(*size)
        return pixels, truth, as_stored(assign(self._part, truth, grid, size, self._params), grid)


def check_draws(folder: Path, part: TrainPart, draws: bool, stage: str) -> None:
    """Whether the folder of the targets stage has draws where the training draws, and none where it does not.

    Raises:
        InputError: one stage of the two reads a section `augment` that draws, the other does not; or the training
            draws, and the family's part of it has no `assign`.
    """
    if draws:
        check_part(cast(ModuleType, part), "assign")
    if has_draws(folder) == draws:
        return
    what = f"has no drawn views, and {stage} draws some" if draws else f"has drawn views, and {stage} draws none"
    raise InputError(
        f"{folder}: {what}; name section {SECTION} in the --params of both "
        f"stages, list it in the SECTIONS of both parts, and run dvc repro {folder.name}"
    )
