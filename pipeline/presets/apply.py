"""Apply a preset: write the graph and the parameters of its family, comments kept, and link the data they need."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.artifacts.atomic import write_text
from pipeline.data_layouts.recognising import DIVIDE
from pipeline.families.family import Family
from pipeline.graphs.composing import composed
from pipeline.graphs.writing import graph_to_write, write_graph
from pipeline.params.file import check_params, family_in, load_params
from pipeline.params.reading import Params
from pipeline.params.schedule import Schedule
from pipeline.presets.data_layout import AUTO_READER, layout_settings, without_auto
from pipeline.presets.default_checks import check_defaults
from pipeline.presets.defaults import default_text
from pipeline.presets.length import set_length
from pipeline.presets.links import (
    check_place,
    existing,
    is_link,
    link,
    links_of,
    parameter_set_by,
    what_is_needed,
)
from pipeline.presets.overlay import apply_overlay, parse_value, set_parameter
from pipeline.runtime.data_folder import check_data_folder
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import nearest_text
from pipeline.runtime.yaml_files import EditedYaml, parse_yaml, read_yaml

_PRESETS = Path(__file__).parent


def preset_names(family: str | None = None) -> list[str]:
    """Every preset, or those of one family; each is an overlay on the defaults of its family."""
    names = sorted(path.stem for path in _PRESETS.glob("*.yaml"))
    return names if family is None else [name for name in names if family_of_preset(name).name == family]


def family_of_preset(name: str) -> Family:
    """The family whose defaults a preset changes.

    Raises:
        InputError: no such preset, or it names a family that there is not.
    """
    return _overlay(name)[0]


def apply_preset(root: Path, name: str, overrides: Sequence[str], length: float = 1.0) -> list[str]:
    """Write `root`/dvc.yaml of the preset's family and `root`/params.yaml as its defaults, preset, the layout of the
    data root where the preset's own reader does not fit it, and overrides; link data, weights and proposals into data/.

    Nothing is kept of an earlier preset or of other edits of params.yaml. Nothing is written unless everything is
    valid. dvc.yaml is written first: stage `code` and `frcnn` tell where a kill left it with the parameters of another
    family.

    Args:
        length: multiplies the iterations of every training, before the overrides.

    Returns:
        Lines on what was done.

    Raises:
        InputError: no such preset or parameter, an impossible value or length, a path that does not exist, a data root
            that DVC does not hash whole or whose layout no reader reads, a data/ where it stores nothing, a graph file
            that is wrong, or a dvc.yaml that was edited by hand.
    """
    check_data_folder(root / "data", root)
    edited, before = _with_preset(name)
    params = edited.content
    if length != 1:
        set_length(params, length)
    links: dict[str, Path] = {}
    values = []
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise InputError(f"{override!r} is not an override; write section.key=value")
        if not is_link(key, value):
            values.append(override)
            continue
        if key not in links_of(params):
            section = key.partition(".")[0]
            what = f"parameter {parameter_set_by(key)}" if section in params else f"section {section}"
            raise InputError(f"{override}: family {params['family']} has no {what}; leave it out")
        links[key] = existing(root, key, value)
        if parameter := parameter_set_by(key):
            set_parameter(params, parameter, "file")
    settings, data_line = layout_settings(params, values, links.get("dataset.root"), f"preset {name}")
    for key, own in settings.items():
        set_parameter(params, key, own)
    for override in without_auto(values):
        key, _, value = override.partition("=")
        set_parameter(params, key, parse_value(override, value))
    text, plain = _text_to_write(edited, before)
    places = links_of(plain)
    for key in places:
        check_place(root, key)
    graph = graph_to_write(root, params["family"])
    lines = [write_graph(root, graph)]
    write_text(root / "params.yaml", text)
    changes = [*([f"{length:g} times the iterations"] if length != 1 else []), *overrides]
    lines.append(f"params.yaml: {name}" + (f" with {', '.join(changes)}" if changes else ""))
    lines += [data_line] if data_line else []
    lines += _schedule_notes(_checked(text, "params.yaml"))
    return lines + [
        link(root, key, links.get(key)) + ("" if key in links else what_is_needed(key, plain)) for key in places
    ]


def preset_texts(root: Path, name: str) -> tuple[str, str]:
    """The texts of dvc.yaml and params.yaml that `apply_preset` would write without overrides; nothing is written.

    Raises:
        InputError: no such preset, or a graph file of `root` that is wrong.
    """
    edited, before = _with_preset(name)
    text, plain = _text_to_write(edited, before)
    return composed(root, plain["family"]), text


def judging_params(root: Path, preset: str | None, overrides: Sequence[str]) -> Params:
    """How a data set is read and detections judged: the parameters of `root`/params.yaml, or the defaults where there
    is none, or those of a preset; nothing is written.

    Args:
        preset: to apply to the defaults. overrides: of the sections dataset and evaluate, section.key=value, applied to
            either.

    Raises:
        InputError: no such preset or parameter, or an impossible value.
    """
    for override in overrides:
        if "=" not in override or not override.startswith(("dataset.", "evaluate.")):
            raise InputError(
                f"--set {override}: write dataset.key=value or evaluate.key=value; --data gives the data's place"
            )
    chosen = preset if preset or (root / "params.yaml").is_file() else "default"
    return chosen_params(root, chosen, overrides, limits=False)  # the bundle's own limits count


def chosen_params(root: Path, preset: str | None, overrides: Sequence[str] = (), limits: bool = True) -> Params:
    """The parameters of a preset, or of `root`/params.yaml, with overrides applied; nothing is written.

    Args:
        root: the project's folder.
        preset: to apply to the defaults; None: params.yaml as it is.
        overrides: section.key=value, applied to either.
        limits: also see that with the overrides what detects keeps all that is to be judged.

    Raises:
        InputError: no such preset or parameter, no params.yaml, or an impossible value.
    """
    return _chosen(root, preset, overrides, limits, lambda content: None)


def params_for_data(
    root: Path, preset: str | None, overrides: Sequence[str], data: Path, own: bool, how: str = DIVIDE
) -> tuple[Params, str | None]:
    """As `chosen_params`, with the layout of a data root where the preset's reader does not fit it, as `apply_preset`
    takes it; and a line on that.

    Args:
        data: the data root.
        own: whether the data root is what params.yaml is about, so that without a preset its reader alone counts.
        how: what to add to the command to divide images.

    Raises:
        InputError: as `chosen_params`, or no layout is recognised.
    """
    lines: list[str | None] = [None]
    asked = any(override.replace(" ", "") == AUTO_READER for override in overrides)

    def set_layout(content: dict[str, Any]) -> None:
        if preset is not None or asked or (content["dataset"]["reader"] == "shapes" and not own):
            settings, lines[0] = layout_settings(
                content, overrides, data, f"preset {preset}" if preset else "params.yaml", how
            )
            for key, value in settings.items():
                set_parameter(content, key, value)

    return _chosen(root, preset, without_auto(overrides), True, set_layout), lines[0]


def _chosen(
    root: Path,
    preset: str | None,
    overrides: Sequence[str],
    limits: bool,
    change: Callable[[dict[str, Any]], None],
) -> Params:
    own = root / "params.yaml"
    if preset is None:
        load_params(own)  # names what is wrong with the file
        edited = EditedYaml(own.read_text(encoding="utf-8"), own)
    else:
        edited, _ = _with_preset(preset)
    change(edited.content)
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise InputError(f"--set {override}: write section.key=value")
        set_parameter(edited.content, key, parse_value(override, value))
    return _checked(edited.text(), f"preset {preset}" if preset else own, limits)


@functools.cache
def preset_params(name: str) -> Params:
    """The parameters of a preset, as `apply_preset` without overrides would write them; nothing is written.

    Raises:
        InputError: no such preset.
    """
    return _checked(_with_preset(name)[0].text(), f"preset {name}")


def _text_to_write(edited: EditedYaml, before: str) -> tuple[str, dict[str, Any]]:
    """The text of a params.yaml and its content, checked; where nothing of `before` was changed, that text as it was.

    Raises:
        InputError: an impossible value.
    """
    text = edited.text()
    plain: dict[str, Any] = parse_yaml(text, "params.yaml")
    check_params(plain, "params.yaml")
    return before if plain == parse_yaml(before, "params.yaml") else text, plain


def _schedule_notes(params: Params) -> list[str]:
    return [
        f"note: {name}: {remark}"
        for name, section in params.sections().items()
        if isinstance(section, Schedule)
        for remark in section.remarks(params.solver.lr_decay)
    ]


def _checked(text: str, source: Path | str, limits: bool = True) -> Params:
    content = parse_yaml(text, source)
    return Params(check_params(content, source, limits), family_in(content, source).name)


def _with_preset(name: str) -> tuple[EditedYaml, str]:
    """The defaults of a preset's family with the preset applied, comments kept; and the text of those defaults."""
    family, overlay = _overlay(name)
    before = default_text(family)
    check_defaults(family, before)
    edited = EditedYaml(before, f"preset {name}")
    apply_overlay(edited.content, overlay, f"preset {name}")
    return edited, before


def _overlay(name: str) -> tuple[Family, dict[str, Any]]:
    """A preset's family, and what it sets."""
    known = preset_names()
    if name not in known:
        raise InputError(f"no preset {name!r}{nearest_text(name, known)}; there are {', '.join(known)}")
    file = _PRESETS / f"{name}.yaml"
    content = read_yaml(file) or {}
    if not isinstance(content, dict):
        raise InputError(f"{file}: must hold sections with their parameters; see docs/parameters.md")
    return family_in(content, file), {key: value for key, value in content.items() if key != "family"}
