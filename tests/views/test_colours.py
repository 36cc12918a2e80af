"""One colour for a network and its step, a class, a loss, a split and a kind, wherever it is shown."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from pipeline.families.registry import family_names, family_of
from pipeline.views import charts
from pipeline.views.class_boxes import layers_by_class
from pipeline.views.colours import (
    CLASSES,
    GREY,
    KINDS,
    class_looks,
    distinct,
    hexadecimal,
    looks,
    loss_looks,
    network_looks,
    step_colours,
    title_looks,
)
from tests.views.conftest import STAGES


def test_a_network_has_the_colour_of_the_step_that_made_it() -> None:
    family = family_of("faster_rcnn")
    steps = step_colours(family, {name: stage["meta"]["step"] for name, stage in STAGES.items()})
    networks = network_looks(family)
    assert list(steps) == ["step 1", "step 2", "step 3", "step 4", "joint"]
    assert len(set(steps.values())) == 5
    for network, step in (("step2", "step 2"), ("step4", "step 4"), ("joint", "joint")):
        assert networks[network].colour == steps[step]
        assert title_looks(family)[family.networks[network].title] == networks[network]


@pytest.mark.parametrize("name", family_names())
def test_networks_of_a_family_differ_and_what_was_never_trained_is_grey(name: str) -> None:
    family = family_of(name)
    own = network_looks(family)
    assert len(set(own.values())) == len(own)
    for network, look in own.items():
        trained = not family.networks[network].parts or set(family.networks[network].parts.values()) & set(
            family.training
        )
        assert (look.colour == GREY) == (not trained)


def test_a_loss_has_one_colour_in_every_training() -> None:
    known = ["a_objectness", "a_box", "b_class", "b_box"]
    alone, together = loss_looks(["b_class", "b_box"], known), loss_looks([*known, "new"], known)
    assert alone == {name: together[name] for name in alone}
    assert len(set(together.values())) == 5


def test_a_class_has_one_colour_on_photos_and_in_charts() -> None:
    names = ["cat", "dog", "bird"]
    layers = layers_by_class(np.zeros((3, 4)), np.array([1, 2, 3]), names)
    of_charts = class_looks(names)
    assert {layer.labels[0]: hexadecimal(layer.colour) for layer in layers} == {
        name: look.colour for name, look in of_charts.items()
    }


def test_what_repeats_a_colour_has_other_dashes() -> None:
    for found in (looks(map(str, range(24))), class_looks(map(str, range(24)))):
        assert len(set(found.values())) == 24
        assert all(one.dash != other.dash for one, other in itertools.pairwise(found.values()))


def test_detectors_side_by_side_differ_and_keep_their_own_colour_where_it_is_free() -> None:
    found = distinct({"a": "#CC79A7", "b": "#2A8BD0", "c": "#2A8BD0", **{str(i): GREY for i in range(9)}})
    assert (found["a"].colour, found["b"].colour) == ("#CC79A7", "#2A8BD0")
    assert len({look.colour for look in list(found.values())[:7]}) == 7
    assert len(found) == 12


def test_kinds_have_the_colours_of_the_pictures_in_charts() -> None:
    spec = charts.error_kinds(pd.DataFrame({"network": ["n"], "kind": ["wrong_class"], "count": [1]}))
    scale = spec["encoding"]["color"]["scale"]
    shown = dict(zip(scale["domain"], scale["range"], strict=True))
    assert shown == {k.replace("_", " "): hexadecimal(c) for k, c in KINDS.items() if k != "ignored"}
    assert len(set(CLASSES)) == len(CLASSES)


def test_a_line_chart_shows_its_dashes_in_the_legend_and_all_values_at_the_pointer() -> None:
    table = pd.DataFrame({"x": [1, 2, 1, 2], "y": [0.1, 0.2, 0.3, 0.4], "s": ["a.b", "a.b", "c[0]", "c[0]"]})
    spec = charts.curves(table, "x", "y", "s", x_title="X", y_title="Y")
    line, rule = spec["layer"]
    colour, dash = line["encoding"]["color"], line["encoding"]["strokeDash"]
    assert colour["scale"]["domain"] == dash["scale"]["domain"] == ["a.b", "c[0]"]
    assert colour["legend"] == dash["legend"] and colour["legend"]["symbolType"] == "stroke"
    assert dash["scale"]["range"][0] != dash["scale"]["range"][1]
    assert [own["title"] for own in rule["encoding"]["tooltip"]] == ["X", "a.b", "c[0]"]
    assert spec["datasets"][rule["data"]["name"]] == [{"x": 1, "s0": 0.1, "s1": 0.3}, {"x": 2, "s0": 0.2, "s1": 0.4}]
    assert spec["width"] == "container"
