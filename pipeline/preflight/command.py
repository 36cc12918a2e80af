"""`frcnn check-data`: read, report, draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.artifacts.atomic import atomic_file
from pipeline.errors import InputError
from pipeline.params.dataset import DatasetParams
from pipeline.params.detector import ResizeParams
from pipeline.params.file import Params, load_params
from pipeline.preflight.anchor_fit import Placement
from pipeline.preflight.collecting import Checked, check_dataset
from pipeline.preflight.layouts import choose_reader, guess_reader, layout_hint
from pipeline.preflight.report import ending, report
from pipeline.preflight.verdict import Verdict, fit_of, judge_anchors
from pipeline.presets.apply import preset_params

RAW = Path("data/raw")


def check_data(data: Path | None, preset: str | None, out: Path, say: Callable[[str], None]) -> bool:
    """Check a data set with the parameters of the preset, or of params.yaml in the working directory.

    Args:
        data: the data root; None: data/raw.
        preset: whose parameters to take; nothing is written of them. None: those of params.yaml.
        out: the PNG file to write, in a folder that is there.
        say: takes each line of the report.

    Returns:
        Whether nothing found would stop a run.

    Raises:
        InputError: parameters, data or `out` cannot be used at all.
    """
    if out.suffix.lower() != ".png" or not out.parent.is_dir() or out.is_dir():
        raise InputError(f"--out {out}: give a file name that ends in .png, in a folder that is there")
    root = RAW if data is None else data
    params = preset_params(preset) if preset else load_params(Path("params.yaml"))
    checked = _read(root, params.dataset, params.resize)
    placement = Placement.of(params.backbone, params.anchor_targets)
    train = checked.gt.of("train")
    verdict = judge_anchors(train, params.anchors, placement, params.base.seed) if len(train) else None
    fits = {}
    for split in ("val", "test"):
        boxes = checked.gt.of(split)
        if verdict is not None and len(boxes):
            fits[split] = fit_of(boxes, placement, verdict.configured.shapes)
    for line in report(root, checked, params, placement, verdict, fits, preset):
        say(line)
    _draw(out, root, checked, params, verdict)
    say(f"picture: {out}")
    say(ending(checked, params.dataset))
    return not checked.stops


def _read(root: Path, dataset: DatasetParams, resize: ResizeParams) -> Checked:
    if dataset.reader == "shapes":
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; give the folder that holds the data set")
        raise InputError(
            f"{root}: dataset.reader is shapes, which generates its data and reads none; choose a reader: "
            f"{choose_reader(root)}"
        )
    try:
        return check_dataset(root, dataset, resize)
    except InputError as error:
        hint = "" if guess_reader(root) == dataset.reader else layout_hint(root)
        raise InputError(f"{error}; {hint}" if hint else str(error)) from error


def _draw(out: Path, root: Path, checked: Checked, params: Params, verdict: Verdict | None) -> None:
    from pipeline.preflight.picture import data_picture  # matplotlib takes a second to import

    picture = data_picture(root, checked, params.anchors, verdict)
    try:
        with atomic_file(out) as temporary:
            temporary.write_bytes(picture.data)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror}); give another place") from error
