"""`frcnn check-data`: read, report, draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.artifacts.atomic import atomic_file
from pipeline.data_layouts.recognising import DIVIDE
from pipeline.datasets.splitting.pool import remedy_as_option
from pipeline.params.reading import Params
from pipeline.preflight.anchor_check import AnchorCheck
from pipeline.preflight.anchor_fit import has_anchors
from pipeline.preflight.collecting import Checked, check_dataset
from pipeline.preflight.disk import disk_lines, stored_bytes
from pipeline.preflight.family_checks import family_checks
from pipeline.preflight.layouts import choose_reader, layout_hint
from pipeline.preflight.level_check import LevelCheck
from pipeline.preflight.report import ending, report
from pipeline.preflight.requirements import unmet, without_remedy
from pipeline.preflight.size_check import SizeCheck
from pipeline.presets.apply import params_for_data
from pipeline.presets.settings import preset_line
from pipeline.runtime.errors import InputError

RAW = Path("data/raw")


def check_data(
    data: Path | None,
    preset: str | None,
    out: Path,
    echo: Callable[[str], None],
    settings: Sequence[str] = (),
    decode: bool = True,
) -> bool:
    """Check a data set with the parameters of the preset, or of params.yaml in the working directory.

    Args:
        data: the data root; None: data/raw.
        preset: whose parameters to take; nothing is written of them. None: those of params.yaml.
        out: the PNG file to write, in an existing folder.
        echo: takes each line of the report.
        settings: section.key=value, applied to the parameters for this check alone.
        decode: whether to decode each image.

    Returns:
        Whether all stages before training would run through, and leave something to train on.

    Raises:
        InputError: parameters, data or `out` cannot be used at all.
    """
    if out.suffix.lower() != ".png" or not out.parent.is_dir() or out.is_dir():
        raise InputError(f"--out {out}: give a file name that ends in .png, in an existing folder")
    root = RAW if data is None else data
    how = DIVIDE.replace("add ", "add --set ")
    params, data_line = params_for_data(Path(), preset, settings, root, own=data is None, how=how)
    if data_line:
        echo(data_line)
    checked = _read(root, params, decode)
    own = family_checks(params)
    anchorless = without_remedy(checked, params)
    later = [*anchorless, *unmet(checked, params)]
    make = own.sizes or (AnchorCheck if has_anchors(params) else LevelCheck)
    sizes: SizeCheck = make(checked, params, partial(preset_line, Path(), root, params, preset))
    source = (f"preset {preset}" if preset else "params.yaml") + "".join(f", {setting}" for setting in settings)
    for line in report(root, checked, params, sizes, source, later):
        echo(line)
    for line in disk_lines(Path(), stored_bytes(checked, params, own.maps(params))):
        echo(line)
    echo("")
    _draw(out, root, checked, sizes)
    echo(f"picture: {out}")
    hint = "" if any(checked.images.values()) else layout_hint(root, params.dataset, params.family)
    if hint:
        echo(hint)
    echo(ending(checked, params.dataset, later, ("dataset", "resize", *own.prepares)))
    return not checked.stops and not anchorless


def _read(root: Path, params: Params, decode: bool) -> Checked:
    dataset = params.dataset
    if dataset.reader == "shapes":
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; give the folder that holds the data set")
        raise InputError(
            f"{root}: dataset.reader is shapes, which generates its data and reads none; choose a reader: "
            f"{choose_reader(root, params.family)}"
        )
    try:
        checked = check_dataset(root, dataset, params.resize, decode)
    except InputError as error:
        hint, line = layout_hint(root, dataset, params.family), remedy_as_option(str(error))
        raise InputError(f"{line}; {hint}" if hint else line) from error
    return replace(checked, faults=[*map(remedy_as_option, checked.faults)])


def _draw(out: Path, root: Path, checked: Checked, sizes: SizeCheck) -> None:
    from pipeline.preflight.picture import data_picture  # Altair takes a second to import

    picture = data_picture(root, checked, sizes.panels())
    try:
        with atomic_file(out) as temporary:
            temporary.write_bytes(picture.data)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror}); give another place") from error
