"""What a family of detectors declares. Shared packages read it and name no family, network or training stage.

A family is a folder here with a module `family`, whose `FAMILY` is one of these, a file `params.yaml` with its sections
of params.yaml, and a graph, `graphs/NAME.yaml`. Other modules of the folder, its parts, are found by their names:
`pipeline.families.registry.part_of` gives them to the rooms that use them, and docs/families.md lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.params.section import Section


@dataclass(frozen=True)
class Network:
    """A network of the graph that is evaluated: stage detect_NAME runs it, stage evaluate_NAME judges what it found.

    Attributes:
        title: in tables.
        about: how it came to be, a sentence.
        parts: each part of its weights, to the stage that trained it. Empty where it is not one network but several
            side by side, which no bundle can hold.
    """

    title: str
    about: str
    parts: Mapping[str, str] = field(default_factory=dict)


Check = Callable[[Mapping[str, Section]], str | None]
"""From all sections of a params.yaml, by name, to what is wrong between them, or None: a line that names a parameter
and says what to do."""


@dataclass(frozen=True)
class Family:
    """A family of detectors.

    Attributes:
        name: its folder's, and its graph's. title: as people write it.
        sections: its sections of params.yaml and their models, in the order of the file. One of a common section's name
            takes that section's place, and its model extends the common one.
        networks: by name, in the order of the training.
        judged: the network whose figures decide unless another is named.
        training: each stage that trains, to what it trains, in the order of the training.
        checks: of what sections say together, made when params.yaml is read.
        defaults_of: another family, whose params.yaml gives the defaults of those sections that its own has not.
    """

    name: str
    title: str
    sections: Mapping[str, type[Section]]
    networks: Mapping[str, Network]
    judged: str
    training: Mapping[str, str]
    checks: Sequence[Check] = ()
    defaults_of: str = ""

    @property
    def bundled(self) -> tuple[str, ...]:
        """The networks that a bundle can hold."""
        return tuple(name for name, network in self.networks.items() if network.parts)
