"""A picture of what a finished stage did, for a page or an orchestrator to show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.views.command import StageCommand
from pipeline.views.encoding import Picture
from pipeline.views.first_filters import filters_picture
from pipeline.views.gallery import gallery
from pipeline.views.panels.registry import shows_images


def picture_of(command: StageCommand, root: Path) -> Picture | None:
    """A picture of what a stage wrote: of the whole, or else of a few images; None for a stage of neither.

    Args:
        command: the stage's command line.
        root: the project's folder, which the command's paths are relative to.

    Raises:
        InputError: an artifact is missing or damaged.
    """
    make = _OF_STAGES.get(command.module)
    if make is None and shows_images(command):
        make = gallery
    return make(command, Path(root)) if make else None


def _losses(command: StageCommand, root: Path) -> Picture:
    # Imported here, as in _curves: Altair takes longer to import than all other pictures together.
    from pipeline.views.plots import loss_plot

    return loss_plot(root / command.out / "history.csv")


def _curves(command: StageCommand, root: Path) -> Picture:
    from pipeline.views.plots import curve_plots

    return curve_plots(root / command.out)


_OF_STAGES: dict[str, Callable[[StageCommand, Path], Picture | None]] = {
    "backbone": filters_picture,
    "train_rpn": _losses,
    "train_head": _losses,
    "finetune_joint": _losses,
    "evaluate": _curves,
}
