"""Which reader and splits a preset takes for a data root: its own where they fit, else those of the root's layout.

The layout is found when the preset is applied, and params.yaml names all of it, so that a run depends on nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.data_layouts.layout import Layout
from pipeline.data_layouts.recognising import DIVIDE, READERS, divide_it, is_read, layouts_of, recognise
from pipeline.datasets.base import SPLITS, Split
from pipeline.datasets.records import check_root
from pipeline.params.dataset import DatasetParams
from pipeline.params.reading import check_section
from pipeline.presets.overlay import parse_value
from pipeline.runtime.errors import InputError

_READER, _AUTO = "dataset.reader", "auto"
AUTO_READER = f"{_READER}={_AUTO}"
"""The override that asks `frcnn preset` for the reader that fits; params.yaml names that reader."""


def layout_settings(
    content: Mapping[str, Any], overrides: Sequence[str], root: Path | None, source: object, how: str = DIVIDE
) -> tuple[dict[str, Any], str | None]:
    """What of section `dataset` is to be set for a data root, before the overrides, and a line on it.

    Nothing is where the overrides name the reader's splits, or where the reader that they name, or else the preset's,
    finds its own.

    Args:
        content: params.yaml as the preset has it.
        overrides: section.key=value.
        root: the data root; None: none is given.
        source: what an error calls the content.
        how: what to add to the command to divide images.

    Raises:
        InputError: no layout is recognised, several are, or the data have no splits.
    """
    given = _given(overrides)
    named = str(given.get(_READER, "")).strip()
    if root is None:
        if named == _AUTO:
            raise InputError(f"{AUTO_READER}: finds the reader of a data root; add dataset.root=PATH")
        return {}, None
    preset = check_section("dataset", DatasetParams, content, str(source))
    assert isinstance(preset, DatasetParams)
    reader = preset.reader if named in ("", _AUTO) else named
    if named not in ("", _AUTO, *READERS) or any(f"dataset.{reader}.{split}" in given for split in SPLITS):
        return ({_READER: preset.reader} if named == _AUTO else {}), None
    divides = _gives_test(given)
    own = preset.model_copy(update={"reader": reader})
    if reader != "shapes" and named != _AUTO and not divides and is_read(root, own):
        return {}, f"dataset: reader {reader}, with {'the defaults' if named else 'the settings of the preset'}"
    if named in READERS:
        return _of_reader(root, preset, named, divides, given, how)
    check_root(root, "images and their annotations")
    return _settings(recognise(root, preset, divides, given, how), divides, given)


def data_to_judge(
    root: Path, own: DatasetParams, overrides: Sequence[str], split: Split
) -> tuple[DatasetParams, str | None]:
    """Section `dataset` by which a detector is judged on a split of a data root, and a line on it.

    That is `own` where its reader finds the split, else the root's layout: its test split, or its val split where it
    has no other, or all its images where it has no splits. The other splits are not read.

    Args:
        root: the data root.
        own: section `dataset`, with the overrides.
        overrides: section.key=value. The splits of a reader that they name are taken as they are, whether or not
            params.yaml has that reader.
        split: which is judged.

    Raises:
        InputError: no layout is recognised, or it has no such split.
    """
    given = _given(overrides)
    asks = str(given.get(_READER, "")).strip() == _AUTO
    is_chosen = _READER in given and not asks
    named = [] if is_chosen else [name for name in READERS if f"dataset.{name}.{split}" in given]
    is_other = len(named) == 1 and named[0] != own.reader  # whose split is named, though params.yaml has another reader
    if is_other:
        own = own.model_copy(update={"reader": named[0]})
    reader = own.reader
    is_named = any(f"dataset.{reader}.{place}" in given for place in SPLITS)
    fits = reader != "shapes" and not asks and not is_other
    if fits and (is_named or own.split.shares or is_read(root, own, (split,))):
        return _with_split_alone(own, split), None
    check_root(root, "images and their annotations")
    if is_chosen or len(named) == 1:
        found = layouts_of(root, own, reader, given) if reader in READERS else []
    else:
        found = [recognise(root, own, True, given)]
    if not found:
        return _with_split_alone(own, split), None  # whose reader says what it lacks
    layout = found[0]
    is_given = f"dataset.{layout.reader}.{split}" in given
    places = getattr(getattr(own, layout.reader), split) if is_given else layout.splits.get(split)
    what = str(split)
    if not places and split == "test":
        places, what = layout.splits.get("val"), "no test split, so val"
        if not layout.is_divided:
            places, what = layout.splits["train"], "all images, as there are no splits"
    if not places:
        there = " and ".join(place for place in SPLITS if layout.splits.get(place))
        raise InputError(f"{root}: is {layout.what}, and has no {split} split; give --split, it has {there}")
    found_ones = {key: own for key, own in layout.settings.items() if f"dataset.{layout.reader}.{key}" not in given}
    block = {**found_ones, split: list(places)}
    taken = getattr(own, layout.reader).model_copy(update=block)
    params = own.model_copy(update={"reader": layout.reader, layout.reader: taken})
    line = f"dataset: reader {layout.reader}, {layout.what}: {what} ({', '.join(places[:4])})"
    return _with_split_alone(params, split), line


def _with_split_alone(params: DatasetParams, split: Split) -> DatasetParams:
    """The section in which its reader's other splits are empty; as it is where the images of one are divided."""
    if params.split.shares:
        return params
    none: dict[str, list[str]] = {place: [] for place in SPLITS if place != split}
    return params.model_copy(update={params.reader: getattr(params, params.reader).model_copy(update=none)})


def _given(overrides: Sequence[str]) -> dict[str, Any]:
    """Settings of section `dataset` by their keys, those of a block, dataset.voc={train: [a]}, one by one."""
    given: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.startswith("dataset."):
            continue
        value = parse_value(override, text)
        given.update(
            {f"{key}.{inner}": own for inner, own in value.items()} if isinstance(value, Mapping) else {key: value}
        )
    return given


def _gives_test(given: Mapping[str, Any]) -> bool:
    """Whether `dataset.split` takes the test split from the images of train."""
    return given.get("dataset.split.test") is not None


def _of_reader(
    root: Path, preset: DatasetParams, reader: str, divides: bool, given: Mapping[str, Any], how: str
) -> tuple[dict[str, Any], str | None]:
    """The layout of a named reader; nothing where it finds none, which the run or `frcnn check-data` will explain."""
    found = layouts_of(root, preset, reader, given)
    if not found:
        return {}, None
    if not found[0].is_divided and not divides:
        raise InputError(f"{root}: {found[0].what} has nothing to test on; {divide_it(reader, how)}")
    return _settings(found[0], divides, given)


def _settings(layout: Layout, divides: bool, given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    by_share = [split for split in SPLITS if given.get(f"dataset.split.{split}") is not None]
    block = layout.block(as_declared=divides)
    settings = {f"dataset.{layout.reader}.{key}": value for key, value in block.items()}
    return {_READER: layout.reader, **settings}, layout.line(block, by_share)


def without_auto(overrides: Sequence[str]) -> list[str]:
    """The overrides that set values: not the word that asks for a layout."""
    return [override for override in overrides if override.replace(" ", "") != AUTO_READER]
