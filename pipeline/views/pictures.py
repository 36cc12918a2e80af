"""A picture of what a finished stage did, for a page or an orchestrator to show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.views import box_pictures, map_pictures
from pipeline.views.command import StageCommand
from pipeline.views.encoding import Picture


def picture_of(command: StageCommand, root: Path, image_ids: list[str] | None = None) -> Picture | None:
    """A picture of a stage's output; None for a module that has none.

    Args:
        command: the stage's command line.
        root: the project's folder, which the command's paths are relative to.
        image_ids: images to show, `ID`, `ID.mirrored`, `ID.view2`...; None for the first few with gt boxes. Stages that
            draw no images pass over it.

    Raises:
        InputError: an artifact is missing or damaged, or an image is not in it.
    """
    make = _PICTURES.get(command.module)
    return make(command, Path(root), image_ids) if make else None


def _losses(command: StageCommand, root: Path, wanted: Sequence[str] | None) -> Picture:
    # Imported here, as in _curves: Altair takes longer to import than all other pictures together.
    from pipeline.views.plots import loss_plot

    return loss_plot(root / command.out / "history.csv")


def _curves(command: StageCommand, root: Path, wanted: Sequence[str] | None) -> Picture:
    from pipeline.views.plots import curve_plots

    return curve_plots(root / command.out)


_PICTURES: dict[str, Callable[[StageCommand, Path, Sequence[str] | None], Picture | None]] = {
    "dataset": box_pictures.dataset_picture,
    "backbone": map_pictures.backbone_picture,
    "resize": box_pictures.resize_picture,
    "anchor_targets": box_pictures.anchor_targets_picture,
    "train_rpn": _losses,
    "proposals": box_pictures.proposals_picture,
    "proposal_targets": box_pictures.proposal_targets_picture,
    "train_head": _losses,
    "features": map_pictures.features_picture,
    "frozen_features": map_pictures.features_picture,
    "finetune_joint": _losses,
    "detect": box_pictures.detect_picture,
    "evaluate": _curves,
}
