"""What a family adds to `frcnn report`: its part `report` has a `FamilyReport` as `REPORT`. Without one a report is
whole, too: it shows what all families have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.families.registry import declared
from pipeline.report.page import PageSection
from pipeline.report.run import Run
from pipeline.views.contact_sheet import Tile
from pipeline.views.panels.request import PanelRequest

Pictures = list[tuple[str, list[Tile]]]
"""What stages make of one image: a sentence and its panels each."""


@dataclass(frozen=True)
class OwnSection:
    """A section of the page: its id in the page, its title, and what makes it."""

    anchor: str
    title: str
    make: Callable[[Run], PageSection]


@dataclass(frozen=True)
class FamilyReport:
    """A family's own words and sections.

    Attributes:
        sections: between those on training and on detections.
        leads: sentences that follow the lead of a common section, by its id: summary, stages, data, training,
            detections, training-images, images.
        figures: titles of the family's own figures in the table of results, by their keys in metrics.json; one that is
            not here has its key as title.
        losses: what each loss of a history.csv is of; the names of those that are not here stand as they are.
        training_stages: what is drawn of training images: a stage, to a sentence. Empty: every stage of the graph that
            has images of train, with its description in dvc.yaml.
        before_detection: makes, for a run, what draws an image of `evaluate.split` between resizing and detection;
            None for nothing.
    """

    sections: tuple[OwnSection, ...] = ()
    leads: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, str] = field(default_factory=dict)
    losses: Mapping[str, str] = field(default_factory=dict)
    training_stages: Mapping[str, str] = field(default_factory=dict)
    before_detection: Callable[[Run], Callable[[PanelRequest], Pictures]] | None = None

    def lead(self, anchor: str, text: str) -> str:
        """The lead of a common section, and the family's words on it."""
        own = self.leads.get(anchor, "")
        return f"{text} {own}" if own else text


def family_report(run: Run) -> FamilyReport:
    """The additions of the run's family.

    Raises:
        InputError: its part `report` has no `REPORT`.
    """
    own: FamilyReport | None = declared(run.family.name, "report", "REPORT")
    return own or FamilyReport()
