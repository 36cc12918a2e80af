"""Which reader and splits a preset takes for a data root: its own where they fit, else those of the root's layout.

The layout is found when the preset is applied, and params.yaml names all of it, so that a run depends on nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.data_layouts.layout import Layout
from pipeline.data_layouts.recognising import READERS, divide_it, is_read, layouts_of, recognise
from pipeline.datasets.base import SPLITS
from pipeline.datasets.records import check_root
from pipeline.params.dataset import DatasetParams
from pipeline.params.reading import check_section
from pipeline.presets.overlay import parse_value
from pipeline.runtime.errors import InputError

_READER, _AUTO = "dataset.reader", "auto"
AUTO_READER = f"{_READER}={_AUTO}"
"""The override that asks `frcnn preset` for the reader that fits; params.yaml names that reader."""


def layout_settings(
    content: Mapping[str, Any], overrides: Sequence[str], root: Path | None, source: object
) -> tuple[dict[str, Any], str | None]:
    """What of section `dataset` is to be set for a data root, before the overrides, and a line on it.

    Nothing is where the overrides name the reader's splits, or where the reader that they name, or else the preset's,
    finds its own.

    Args:
        content: params.yaml as the preset has it.
        overrides: section.key=value.
        root: the data root; None: none is given.
        source: what an error calls the content.

    Raises:
        InputError: no layout is recognised, several are, or the data have no splits.
    """
    given = dict(override.split("=", 1) for override in overrides if "=" in override)
    named = given.get(_READER, "").strip()
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
        return _of_reader(root, preset, named, divides)
    check_root(root, "images and their annotations")
    layout = recognise(root, preset, divides)
    return _settings(layout, divides)


def _gives_test(given: Mapping[str, str]) -> bool:
    """Whether `dataset.split` takes the test split from the images of train."""
    share = parse_value("dataset.split.test", given.get("dataset.split.test", ""))
    shares = parse_value("dataset.split", given.get("dataset.split", ""))
    return share is not None or (isinstance(shares, Mapping) and shares.get("test") is not None)


def _of_reader(root: Path, preset: DatasetParams, reader: str, divides: bool) -> tuple[dict[str, Any], str | None]:
    """The layout of a named reader; nothing where it finds none, which the run or `frcnn check-data` will explain."""
    found = layouts_of(root, preset, reader)
    if not found:
        return {}, None
    if not found[0].is_divided and not divides:
        raise InputError(f"{root}: is {found[0].what}, with nothing to test on; {divide_it(reader)}")
    return _settings(found[0], divides)


def _settings(layout: Layout, divides: bool) -> tuple[dict[str, Any], str]:
    block = layout.block(as_declared=divides)
    settings = {f"dataset.{layout.reader}.{key}": value for key, value in block.items()}
    return {_READER: layout.reader, **settings}, layout.line(block)


def without_auto(overrides: Sequence[str]) -> list[str]:
    """The overrides that set values: not the word that asks for a layout."""
    return [override for override in overrides if override.replace(" ", "") != AUTO_READER]
