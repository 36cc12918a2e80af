"""`frcnn split`: divide a data set, show the splits, and write one row per image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.artifacts.atomic import write_text
from pipeline.datasets.base import SPLITS, Split
from pipeline.datasets.faults import Faults
from pipeline.datasets.reading import division_of
from pipeline.datasets.root_check import check_tree
from pipeline.datasets.splitting.dividing import Division, split_table
from pipeline.preflight.command import RAW
from pipeline.preflight.report import table_lines
from pipeline.presets.apply import chosen_params, params_for_data
from pipeline.presets.settings import as_yaml, preset_line
from pipeline.runtime.errors import InputError

_MOST_CLASSES = 30


def split_data(
    data: Path | None,
    preset: str | None,
    out: Path,
    echo: Callable[[str], None],
    settings: Sequence[str],
    options: Mapping[str, object],
) -> None:
    """Divide a data set by `dataset.split`, as stage `dataset` will, and write the rows as CSV.

    Args:
        data: the data root; None: data/raw. Nothing is written there.
        preset: whose parameters to take; None: those of params.yaml.
        out: the CSV file to write, in an existing folder.
        echo: takes each line of the report.
        settings: section.key=value, applied to the parameters.
        options: of `dataset.split`, applied after them; those that are None are not.

    Raises:
        InputError: parameters, data or `out` cannot be used, or the data cannot be divided.
    """
    if out.suffix.lower() != ".csv" or not out.parent.is_dir() or out.is_dir():
        raise InputError(f"--out {out}: give a file name that ends in .csv, in an existing folder")
    root = RAW if data is None else data
    if out.resolve().is_relative_to(root.resolve()):
        raise InputError(f"--out {out}: lies in the data, where nothing is written; give a place outside {root}")
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder that holds the data set")
    check_tree(root)
    settings = [*settings, *_as_settings(options)]
    is_given = any(setting.startswith("dataset.split") for setting in settings)
    if not is_given and not chosen_params(Path(), preset).dataset.split.shares:
        raise InputError("give the shares, --val or --test, e.g. --val .1 --test .2")
    params, data_line = params_for_data(Path(), preset, settings, root, own=data is None, how="add --test .2")
    dataset = params.dataset
    if not dataset.split.shares:
        raise InputError("give the shares, --val or --test, e.g. --val .1 --test .2")
    if data_line:
        echo(data_line)
    division = division_of(root, dataset, Faults())
    echo(f"{root}: reader {dataset.reader}, parameters of {f'preset {preset}' if preset else 'params.yaml'}")
    for line in _report(division):
        echo(line)
    try:
        write_text(out, split_table(division.rows))
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror}); give another place") from error
    echo(f"{out}: the split of each image")
    command = preset_line(Path(), root, params, preset, {})
    if command is not None:
        echo(f"to train on it: {command}")


def _as_settings(options: Mapping[str, object]) -> list[str]:
    return [f"dataset.split.{key}={as_yaml(value)}" for key, value in options.items() if value is not None]


def _report(division: Division) -> Iterator[str]:
    """How many images of each class every split has, and what stays together."""
    rows: list[tuple[str, Sequence[object]]] = [("images", _per_split(Counter(row.split for row in division.rows)))]
    ordered = sorted(division.images_of, key=lambda name: (-division.images_of[name].total(), name))
    shown = ordered[:_MOST_CLASSES]
    rows += [
        (f"  with {name}" if name else "  without an object", _per_split(division.images_of[name])) for name in shown
    ]
    yield from table_lines(SPLITS, rows)
    if len(ordered) > len(shown):
        yield f"and {len(ordered) - len(shown)} more classes"
    yield from division.remarks


def _per_split(counts: Mapping[Split, int]) -> list[int]:
    return [counts[split] for split in SPLITS]
