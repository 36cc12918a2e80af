"""Which colour stands for what: the one place that decides, for the report, its charts, pictures of images, `frcnn
compare`, `frcnn predict` and Prefect's pages.

A network has the colour of the step whose training made it, and so has that step in the drawing of the graph. A class,
a loss, a split and a kind of detection each have one colour, on photos and in charts alike. Colours repeat after six;
what repeats has other dashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pipeline.families.family import Family, Network
from pipeline.views.drawing import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILLION, WHITE, YELLOW, Colour

COLOURS = ("#2A8BD0", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
"""Okabe and Ito's colours that stand out on white and on near-black alike; one after another where nothing else
decides."""
GREY = "#8A8A8A"
"""What belongs to no step, such as the data, and the sum of several parts."""
CLASSES: tuple[Colour, ...] = (ORANGE, SKY_BLUE, GREEN, PURPLE, VERMILLION, BLUE)
DASHES = ((1, 0), (6, 3), (2, 2), (9, 3, 2, 3))
KINDS: dict[str, Colour] = {
    "correct": GREEN,
    "duplicate": SKY_BLUE,
    "wrong_class": PURPLE,
    "badly_placed": ORANGE,
    "background": VERMILLION,
    "missed": YELLOW,
    "ignored": WHITE,
}
"""Of each kind of detection, and of a gt box that none finds."""
SPLITS = {"train": COLOURS[0], "val": COLOURS[2], "test": COLOURS[1]}


class Look(NamedTuple):
    """A line's colour and dashes, px drawn and left out in turn."""

    colour: str
    dash: tuple[int, ...] = DASHES[0]


def hexadecimal(colour: Colour) -> str:
    """A colour as charts and pages write it."""
    return "#{:02X}{:02X}{:02X}".format(*colour)


def class_colour(label: int) -> Colour:
    """The colour of a class, by its label from 1 on."""
    return CLASSES[(label - 1) % len(CLASSES)]


def class_looks(names: Iterable[str]) -> dict[str, Look]:
    """The look of each class, in the order of their labels, without the background."""
    return _looks(names, [hexadecimal(colour) for colour in CLASSES])


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each name, one after another, where nothing else decides."""
    return _looks(names, COLOURS)


def loss_looks(names: Iterable[str], known: Sequence[str] = ()) -> dict[str, Look]:
    """The look of each loss, the same in every training of a family.

    Args:
        names: of a history.csv. known: all losses of the family, in its order.
    """
    own = looks(dict.fromkeys([*known, *names]))
    return {name: own[name] for name in names}


def step_colours(family: Family, steps: Mapping[str, str]) -> dict[str, str]:
    """The colour of each step that trains something.

    Args:
        steps: the step of each stage of the graph.
    """
    places = enumerate(family.training)
    return {steps[stage]: COLOURS[place % len(COLOURS)] for place, stage in places if stage in steps}


def network_looks(family: Family) -> dict[str, Look]:
    """The look of each network, by its name: that of the training that ended it. One without a training is grey."""
    trainings, found = list(family.training), dict[str, Look]()
    for place, (name, network) in enumerate(family.networks.items()):
        own = _last_training(trainings, name, network)
        colour = GREY if own is None else COLOURS[own % len(COLOURS)]
        found[name] = Look(colour, DASHES[place % len(DASHES)])
    return found


def title_looks(family: Family) -> dict[str, Look]:
    """The same by the networks' titles."""
    own = network_looks(family)
    return {network.title: own[name] for name, network in family.networks.items()}


def distinct(wanted: Mapping[str, str]) -> dict[str, Look]:
    """A look for each of several detectors: its own colour, or the next free one where another has that."""
    found: dict[str, Look] = {}
    for place, (name, colour) in enumerate(wanted.items()):
        taken = {own.colour for own in found.values()}
        free = [colour, *(other for other in COLOURS if other not in taken), COLOURS[place % len(COLOURS)]]
        found[name] = Look(next((own for own in free if own not in taken), free[-1]), DASHES[place % len(DASHES)])
    return found


def _last_training(trainings: Sequence[str], name: str, network: Network) -> int | None:
    places = [trainings.index(stage) for stage in network.parts.values() if stage in trainings]
    if not network.parts:  # several side by side: the training that is named as they are
        places = [place for place, stage in enumerate(trainings) if stage.endswith(f"_{name}")]
    return max(places, default=None)


def _looks(names: Iterable[str], colours: Sequence[str]) -> dict[str, Look]:
    count = len(colours)
    # Neighbours differ in their dashes too, and so do those that share a colour.
    return {
        name: Look(colours[place % count], DASHES[(place + place // count) % len(DASHES)])
        for place, name in enumerate(names)
    }
