"""The table of results at the end of a run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.families.family import Family
from pipeline.families.registry import present_family
from pipeline.runtime.errors import InputError
from pipeline.views.json_files import read_metrics
from pipeline.views.outdated import outdated

_COLUMNS = {"mAP50": "VOC mAP@.5", "mAP50_11point": "11-point", "AP": "COCO AP", "AP75": "AP75", "AR100": "AR100"}


def results_frame(data: Path, family: Family | None = None) -> pd.DataFrame:
    """One row per network, one column per figure on the images of `evaluate.split`, all in 0..1.

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
    return pd.DataFrame.from_dict(rows, orient="index")


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
    table = results_frame(data).to_string(float_format="{:.3f}".format)
    notes = "".join(f"{note}\n" for note in outdated_notes(root, present_family(root)))
    return (
        f"{table}\n\n{notes}"
        f"curves and metrics  {data}/evaluate_*/\n"
        f"detections          {data}/detect_*/detections.parquet\n"
        f"trained networks    {data}/*/model.safetensors\n"
        "what each file holds: docs/artifacts.md; plots: dvc plots show; other runs: dvc exp show"
    )
