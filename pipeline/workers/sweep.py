"""`frcnn sweep`: many experiments on the workers, what is equal in them run once, the best chosen on val."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.params.file import check_params
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text
from pipeline.runtime.yaml_files import parse_yaml
from pipeline.workers.commands import read_params, run_on_workers
from pipeline.workers.experiments import forget_figures, kept_figures
from pipeline.workers.sweep_file import Sweep, read_sweep, texts_of


def run_sweep(root: Path, file: Path, log: Callable[[str], None]) -> pd.DataFrame:
    """Run a sweep's experiments and then, where one is chosen, that one judged on test; log the table.

    Returns:
        One row an experiment: its changes, the figure that decides and others, best first, and last the chosen one on
        test, named with `-test`.

    Raises:
        InputError: the file is wrong, there are no val images to choose on, or an experiment failed; the others are
            kept and reported all the same.
    """
    sweep, text = read_sweep(file), read_params(root)
    changes = sweep.changes(root)
    if sweep.choose == "val":
        _need_val(text)
    texts_of(text, changes)  # what is wrong with it is reported before anything starts
    log(count_text(len(changes), "experiment"))
    table, problem = _run(root, sweep, changes, log, split="val")
    if sweep.choose == "val" and len(table):
        best = str(table.index[0])
        log(f"chosen on val: {best}")
        judged, problem_on_test = _run(root, sweep, {f"{best}-test": changes[best]}, log, split="test")
        table, problem = pd.concat([table, judged]), problem or problem_on_test
    if len(table):
        log(table.to_string(float_format="{:.3f}".format, na_rep=""))
    if problem:
        raise problem
    return table


def _run(
    root: Path, sweep: Sweep, changes: Mapping[str, Mapping[str, Any]], log: Callable[[str], None], split: str
) -> tuple[pd.DataFrame, InputError | None]:
    """Run experiments, judged on `split` unless none is to be chosen; the rows of those that ended well, best first,
    and what became of the others."""
    judged = {"evaluate.split": split} if sweep.choose == "val" else {}
    forget_figures(root)
    problem = None
    try:
        run_on_workers(root, [], log, {name: {**own, **judged} for name, own in changes.items()})
    except InputError as error:
        failed = changes.keys() - kept_figures(root).keys()
        problem = InputError(f"{', '.join(sorted(failed))}: {error}" if len(failed) < len(changes) else str(error))
    return _rows(root, sweep, changes), problem


def _rows(root: Path, sweep: Sweep, changes: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    found = {}
    for name, of_networks in kept_figures(root).items():
        figures = of_networks[sweep.network]
        if sweep.figure not in figures:
            raise InputError(f"{sweep.figure}: no figure of evaluate_{sweep.network}; there are {', '.join(figures)}")
        settings = {key: json.dumps(value) for key, value in changes[name].items()}
        found[name] = {**settings, sweep.figure: figures[sweep.figure], "images": figures["images"]}
    table = pd.DataFrame.from_dict(found, orient="index")
    return table.sort_values(sweep.figure, ascending=False, kind="stable") if found else table


def _need_val(text: str) -> None:
    dataset: Any = check_params(parse_yaml(text, "params.yaml"), "params.yaml")["dataset"]
    if not getattr(dataset, dataset.reader).val:
        raise InputError(
            f"a sweep chooses on val images, and dataset.{dataset.reader}.val names none; set it, or choose: none"
        )
