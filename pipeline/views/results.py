"""The table of results at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.families.family import Family
from pipeline.families.registry import present_family
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import figure_text
from pipeline.views.json_files import read_metrics
from pipeline.views.outdated import outdated

_COLUMNS = {"mAP50": "VOC mAP@.5", "mAP50_11point": "11-point", "AP": "COCO AP", "AP75": "AP75", "AR100": "AR100"}
_LEARNT = 0.05  # mAP@.5


def results_frame(data: Path, family: Family | None = None) -> pd.DataFrame:
    """One row per network, one column per figure on the images of `evaluate.split`, all in 0..1; NaN or -1 for
    one that does not exist.

    Args:
        data: a project's data folder.
        family: whose networks; without one those of the project's params.yaml. Folders of others may lie in `data`.

    Raises:
        InputError: nothing has been evaluated yet, or a metrics.json lacks a figure.
    """
    rows = {}
    for name, network in (family or present_family(Path(data).resolve().parent)).networks.items():
        folder = Path(data) / f"evaluate_{name}"
        if (folder / "metrics.json").is_file():
            metrics = read_metrics(folder)
            if not metrics:
                continue  # the network does not exist
            if absent := [key for key in _COLUMNS if key not in metrics]:
                raise InputError(f"{folder / 'metrics.json'}: has no {absent[0]}; dvc repro evaluate_{name}")
            rows[network.title] = {title: metrics[key] for key, title in _COLUMNS.items()}
    if not rows:
        raise InputError(f"{data}: nothing evaluated yet; run make repro")
    return pd.DataFrame.from_dict(rows, orient="index", dtype=float)


def hardly_learnt_notes(figures: Mapping[str, object]) -> list[str]:
    """A line on the networks that find next to nothing.

    Args:
        figures: mAP@.5 of each network, by the title it is printed with; what is not a number counts as missing.
    """
    poor = [title for title, value in figures.items() if isinstance(value, float | int) and 0 <= value < _LEARNT]
    if not poor:
        return []
    remedy = "train for more iterations, or start from weights of ImageNet (backbone.weights)"
    return [f"hardly learnt (mAP@.5 below {_LEARNT:g}): {', '.join(poor)}; {remedy}"]


def outdated_notes(root: Path, family: Family) -> list[str]:
    """A line on each network of the project's family whose figures are not of the parameters and inputs of now."""
    reasons = {network.title: outdated(root, f"evaluate_{name}") for name, network in family.networks.items()}
    return [f"{title}: out of date: {reason}; run frcnn repro" for title, reason in reasons.items() if reason]


def results_table(data: Path) -> str:
    """VOC and COCO figures of each network on the images of `evaluate.split`, and where to look further.

    Raises:
        InputError: nothing has been evaluated yet.
    """
    root = Path(data).resolve().parent
    frame = results_frame(data)
    table = frame.map(figure_text).to_string()
    learnt = hardly_learnt_notes(dict(zip(map(str, frame.index), frame[_COLUMNS["mAP50"]], strict=True)))
    notes = "".join(f"{note}\n" for note in (*learnt, *outdated_notes(root, present_family(root))))
    return (
        f"{table}\n\n{notes}"
        f"curves and metrics  {data}/evaluate_*/\n"
        f"detections          {data}/detect_*/detections.parquet\n"
        f"trained networks    {data}/*/model.safetensors\n"
        "what each file holds: docs/artifacts.md; plots: dvc plots show; other runs: dvc exp show"
    )
