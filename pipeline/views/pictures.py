"""A picture of what a finished stage did, for a page or an orchestrator to show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.families.registry import declared, present_family
from pipeline.graphs.command import StageCommand
from pipeline.views.encoding import Picture
from pipeline.views.family_part import listed, trains
from pipeline.views.first_filters import filters_picture
from pipeline.views.gallery import gallery
from pipeline.views.panels.registry import find_panels


def picture_of(command: StageCommand, root: Path) -> Picture | None:
    """A picture of what a stage wrote: of the whole, or else of a few images; None for a stage of neither.

    Those of the whole of a family's own stages are in its part `figures`, a mapping `PICTURES` from the stage's module,
    which goes before the one here. A stage that trains a network of the family has its losses without being listed.

    Args:
        command: the stage's command line.
        root: the project's folder, which the command's paths are relative to.

    Raises:
        InputError: an artifact is missing or damaged.
    """
    root = Path(root)
    make = listed(command, root, "figures", "PICTURES") or _COMMON.get(command.module)
    if make is None and find_panels(command, root) is not None:
        make = gallery
    if make is None and trains(command, root):
        make = _losses
    return make(command, root) if make else None


def _losses(command: StageCommand, root: Path) -> Picture:
    # Imported here, as in _curves: Altair takes longer to import than all other pictures together.
    from pipeline.views.plots import loss_plot

    family = command.family or present_family(root).name
    report = declared(family, "report", "REPORT")
    return loss_plot(root / command.out / "history.csv", list(report.losses) if report else ())


def _curves(command: StageCommand, root: Path) -> Picture:
    from pipeline.views.plots import curve_plots

    return curve_plots(root / command.out)


_COMMON: dict[str, Callable[[StageCommand, Path], Picture | None]] = {
    "backbone": filters_picture,
    "evaluate": _curves,
}
