"""`frcnn sweep`: many experiments on the workers, what is equal in them run once, the best chosen on val."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.params.file import check_params
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text
from pipeline.runtime.yaml_files import parse_yaml
from pipeline.workers.commands import run_on_workers
from pipeline.workers.comparable import different_data, refuse_other_judgement
from pipeline.workers.deciding import refuse_unjudged, refuse_unknown_figure
from pipeline.workers.experiments import Figures, forget_figures, kept_figures
from pipeline.workers.setting import Experiments, Setting
from pipeline.workers.sweep_file import Sweep, name_on_test, read_sweep

_SHOWN_OF_ALL = ("mAP50", "AP")


def run_sweep(root: Path, file: Path, log: Callable[[str], None]) -> pd.DataFrame:
    """Run a sweep's experiments and then, where one is chosen, that one judged on test; log the table.

    Returns:
        One row per experiment: its preset and network where the sweep names presets, its changes, the figure that
        decides and others, best first, and last the chosen one on test, named with `-test`. One without the figure
        that decides has NaN there.

    Raises:
        InputError: the file is wrong, there are no val images to choose on, figures could not be compared, an
            experiment failed or lacks the deciding figure; the others are still kept and reported.
    """
    sweep = read_sweep(file)
    tried = sweep.tried(root)
    on_val = _on(tried, "val") if sweep.choose == "val" else tried
    # What is wrong with it is reported before anything starts.
    settings = on_val.settings()
    if sweep.choose == "val":
        _need_val(settings)
    refuse_other_judgement(settings)
    refuse_unjudged(settings, sweep.network_of)
    families = (setting.family() for setting in settings.values())
    refuse_unknown_figure(sweep.figure, {family.name: family for family in families})
    if differing := different_data(settings):
        log(f"{', '.join(differing)}: not the same in all experiments, so that not all are judged on the same images")
    log(count_text(len(settings), "experiment"))
    table, problem = _run(root, sweep, on_val, log)
    if sweep.choose == "val" and len(table) and pd.notna(table[sweep.figure].iloc[0]):
        best = str(table.index[0])
        log(f"chosen on val: {best}")
        judged, problem_on_test = _run(root, sweep, _on(tried.renamed({best: name_on_test(best)}), "test"), log)
        table, problem = pd.concat([table, judged]), problem or problem_on_test
    if len(table):
        log(table.to_string(float_format="{:.3f}".format, na_rep=""))
    if problem:
        raise problem
    return table


def _on(tried: Experiments, split: str) -> Experiments:
    return tried.changed({"evaluate.split": split})


def _run(
    root: Path, sweep: Sweep, tried: Experiments, log: Callable[[str], None]
) -> tuple[pd.DataFrame, InputError | None]:
    """Run experiments; the rows of those that ended well, best first, and what became of the others."""
    forget_figures(root)
    problem = None
    try:
        run_on_workers(root, [], log, tried)
    except InputError as error:
        failed = tried.tried.keys() - kept_figures(root).keys()
        problem = InputError(f"{', '.join(sorted(failed))}: {error}" if len(failed) < len(tried.tried) else str(error))
    kept = kept_figures(root)
    deciding = {start: sweep.network_of(setting.family()) for start, setting in tried.starts.items()}
    networks = {name: deciding[tried.tried[name].start] for name in kept}
    return _rows(sweep, tried, networks, kept), problem or _lacking(sweep.figure, networks, kept)


def _rows(sweep: Sweep, tried: Experiments, networks: Mapping[str, str], kept: Mapping[str, Figures]) -> pd.DataFrame:
    names = tuple(dict.fromkeys((sweep.figure, *(_SHOWN_OF_ALL if sweep.presets else ()), "images")))
    found = {}
    for name, of_networks in kept.items():
        own = tried.tried[name]
        figures = of_networks.get(networks[name], {})
        start = {"preset": own.start, "network": networks[name]} if sweep.presets else {}
        settings = {
            key: json.dumps(value)
            for key, value in own.changes.items()
            if key != "evaluate.split" or sweep.choose != "val"
        }
        deciding = {sweep.figure: figures.get(sweep.figure, math.nan)}
        found[name] = {**start, **settings, **deciding, **{key: figures[key] for key in names if key in figures}}
    table = pd.DataFrame.from_dict(found, orient="index")
    if not found:
        return table
    figures_last = [column for column in table.columns if column not in names]
    columns = [*figures_last, *(key for key in names if key in table.columns)]
    return table[columns].sort_values(sweep.figure, ascending=False, kind="stable")


def _lacking(figure: str, networks: Mapping[str, str], kept: Mapping[str, Figures]) -> InputError | None:
    """What is wrong where experiments ended without the figure that decides."""
    lacking = [name for name, of_networks in kept.items() if figure not in of_networks.get(networks[name], {})]
    if not lacking:
        return None
    network = networks[lacking[0]]
    return InputError(
        f"{figure}: no number of that name in metrics.json of {', '.join(lacking)}; "
        f"evaluate_{network} has {', '.join(kept[lacking[0]].get(network, {})) or 'none'}"
    )


def _need_val(settings: Mapping[str, Setting]) -> None:
    for setting in settings.values():
        dataset: Any = check_params(parse_yaml(setting.params, "params.yaml"), "params.yaml")["dataset"]
        if not getattr(dataset, dataset.reader).val:
            raise InputError(
                f"a sweep chooses on val images, and dataset.{dataset.reader}.val names none; set it, or choose: none"
            )
