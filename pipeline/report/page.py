"""The page: sections of prose, tables, charts and pictures, put into one HTML file that asks no other for anything."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import jinja2
from markupsafe import Markup

from pipeline.views.charts import Spec
from pipeline.views.colours import hexadecimal
from pipeline.views.contact_sheet import Key
from pipeline.views.drawing import Spot, is_dark
from pipeline.views.encoding import Picture


@dataclass(frozen=True)
class Table:
    """A table of texts and numbers. `align` has one letter per column, l or r; `colours` are those of cells of the
    first column, by their text."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    align: str = ""
    colours: Mapping[str, str] = field(default_factory=dict)
    kind: str = field(default="table", init=False)


@dataclass(frozen=True)
class Chart:
    """A Vega-Lite chart and the line under it."""

    spec: Spec
    caption: str = ""
    kind: str = field(default="chart", init=False)

    @property
    def json(self) -> Markup:
        """The specification for a script element, which no text in it can end."""
        return Markup(json.dumps(self.spec).replace("<", "\\u003c"))


@dataclass(frozen=True)
class Text:
    """A paragraph; `missing` marks a note that something has not been computed yet."""

    text: str
    missing: bool = False
    kind: str = field(default="text", init=False)


@dataclass(frozen=True)
class Drawing:
    """SVG made by this project."""

    svg: Markup
    kind: str = field(default="drawing", init=False)


@dataclass(frozen=True)
class Row:
    """Parts side by side where the window is wide enough."""

    parts: Sequence[Part]
    kind: str = field(default="row", init=False)


@dataclass(frozen=True)
class Shot:
    """A picture with its caption, its legend, and what the pointer shows on it; one that is `wide` fills a row."""

    picture: Picture
    legend: Sequence[Key] = ()
    spots: Sequence[Spot] = ()
    wide: bool = False

    @property
    def spots_json(self) -> str:
        """For an attribute: x1, y1, x2, y2 and a text each."""
        return json.dumps([[*spot.place, spot.text] for spot in self.spots])


@dataclass(frozen=True)
class Panel:
    """What one stage makes of an image: a sentence and its pictures."""

    title: str
    shots: Sequence[Shot]


@dataclass(frozen=True)
class Slide:
    """One image on its way through the stages: what it is, its errors in a few words, a small picture of it, and what
    the stages make of it, in order."""

    name: str
    note: str
    thumb: Picture
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Slides:
    """Images to page through, the worst first."""

    slides: Sequence[Slide]
    kind: str = field(default="slides", init=False)


Part = Table | Chart | Text | Drawing | Row | Slides


@dataclass(frozen=True)
class PageSection:
    """A chapter of the page. `anchor` is its id in the page, `lead` says what one sees and what to look for."""

    anchor: str
    title: str
    lead: str
    parts: Sequence[Part]


def render(title: str, subtitle: str, made: datetime, sections: Sequence[PageSection], script: Markup) -> str:
    """The whole page as HTML text; `script` brings `vegaEmbed`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data_uri": _data_uri, "hex": hexadecimal}
    environment.tests["dark"] = is_dark
    return environment.get_template("page.html.jinja").render(
        title=title,
        subtitle=subtitle,
        made=made.strftime("%Y-%m-%d %H:%M"),
        sections=sections,
        script=script,
        page_script=Markup((Path(__file__).parent / "page.js").read_text(encoding="utf-8")),
    )


def _data_uri(picture: Picture) -> str:
    return f"data:{picture.mime};base64,{base64.b64encode(picture.data).decode()}"
