"""The docs name every stage, column and parameter, and show the defaults and readers that the files have.

Defaults are those of each family: a preset applied to params.yaml does not make the docs wrong.
After a change of a preset or of a graph, `python tests/test_docs.py` rewrites what can be generated in
docs/parameters.md: the defaults, the stages that read a section and the tables of the presets. Meanings are written
by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from pipeline.artifacts.anchor_targets import ANCHOR_IMAGES, FG_ANCHORS
from pipeline.artifacts.dataset_tables import DATASET_BOXES, DATASET_IMAGES
from pipeline.artifacts.dense_targets import FG_LOCATIONS, LEVEL_IMAGES
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.draws import DRAWS
from pipeline.artifacts.findings_table import FINDINGS
from pipeline.artifacts.maps import FEATURE_IMAGES
from pipeline.artifacts.matches import MATCHES
from pipeline.artifacts.proposal_targets import PROPOSAL_TARGETS
from pipeline.artifacts.proposals import PROPOSALS
from pipeline.artifacts.resized_tables import RESIZED_BOXES, RESIZED_IMAGES
from pipeline.families.registry import family_names, family_of
from pipeline.graphs.composing import composed
from pipeline.presets.defaults import default_text

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PARAMETERS = DOCS / "parameters.md"
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
del STAGES["code"]  # not a step of a run; every other stage reads it
PRESETS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "pipeline" / "presets").glob("*.yaml"))
}
assert PRESETS.pop("default") == {"family": "faster_rcnn"}
FAMILY_OF_PRESET = {name: preset.pop("family", "faster_rcnn") for name, preset in PRESETS.items()}
GRAPHS = {family: yaml.safe_load(composed(ROOT, family))["stages"] for family in family_names()}
DEFAULTS = {family: yaml.safe_load(default_text(family_of(family))) for family in family_names()}
COMMON_DEFAULTS = yaml.safe_load((ROOT / "pipeline/params/common.yaml").read_text(encoding="utf-8"))
MAPPINGS = {"merge"}  # parameters whose value is a mapping of the user's own
DENSE = ("NAME_targets", "train_NAME", "detect_NAME", "evaluate_NAME", "detect_NAME_initial", "evaluate_NAME_initial")
"""The stages of a dense family, NAME."""
TABLES = {
    ("dataset", "images.parquet"): DATASET_IMAGES,
    ("dataset", "boxes.parquet"): DATASET_BOXES,
    ("dataset", "findings.parquet"): FINDINGS,
    ("resize", "images.parquet"): RESIZED_IMAGES,
    ("resize", "boxes.parquet"): RESIZED_BOXES,
    ("anchor_targets", "fg_anchors.parquet"): FG_ANCHORS,
    ("anchor_targets", "images.parquet"): ANCHOR_IMAGES,
    ("proposals_step1", "proposals.parquet"): PROPOSALS,
    ("proposal_targets_step2", "proposal_targets.parquet"): PROPOSAL_TARGETS,
    ("features", "images.parquet"): FEATURE_IMAGES,
    ("detect_step2", "detections.parquet"): DETECTIONS,
    ("detect_step2", "proposals.parquet"): PROPOSALS,
    ("evaluate_step2", "matches.parquet"): MATCHES,
    ("NAME_targets", "fg_locations.parquet"): FG_LOCATIONS,
    ("NAME_targets", "images.parquet"): LEVEL_IMAGES,
    ("NAME_targets", "draws.parquet"): DRAWS,
}


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def flat(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of all leaves."""
    for key, value in node.items():
        if isinstance(value, dict) and key not in MAPPINGS:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def shown(value: Any) -> str:
    """A value as params.yaml writes it, in backticks."""
    return f"`{yaml.safe_dump(value, default_flow_style=True, width=10_000).splitlines()[0]}`"


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def parts(markdown: str, level: int) -> Iterator[tuple[list[str], str]]:
    """The names in backticks of each heading of a level, and what stands below it."""
    for part in re.split(rf"^{'#' * level} ", markdown, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        yield code(heading), body


def rows(markdown: str) -> list[list[str]]:
    """The cells of all table rows whose first cell has something in backticks."""
    return [cells(line) for line in markdown.splitlines() if line.startswith("| `")]


def sections_of_docs() -> dict[tuple[str, str], dict[str, Any]]:
    """By family, empty for what all have, and section: the keys that are documented there, with their defaults. Of a
    common section, or of one of the family whose defaults it takes, a family has those alone that others do not have,
    or with other values."""
    found = {("", section): dict(flat(values)) for section, values in COMMON_DEFAULTS.items()}
    for family, content in sorted(DEFAULTS.items(), key=lambda item: bool(family_of(item[0]).defaults_of)):
        for section, values in content.items():
            common = found.get(("", section), {}) | found.get((family_of(family).defaults_of, section), {})
            own = {} if section == "family" else dict(flat(values))
            if own := {key: value for key, value in own.items() if key not in common or common[key] != value}:
                found[family, section] = own
    return found


SECTIONS = sections_of_docs()


def readers_line(family: str, section: str) -> str:
    graphs = [GRAPHS[name] for name in GRAPHS if family in ("", name, family_of(name).defaults_of)]
    readers = dict.fromkeys(
        name for graph in graphs for name, stage in graph.items() if section in stage.get("params", ())
    )
    return f"Read by {', '.join(f'`{name}`' for name in readers)}."


def preset_rows(name: str) -> list[list[str]]:
    content = DEFAULTS[FAMILY_OF_PRESET[name]]
    defaults = dict(flat(content))
    return [[f"`{key}`", shown(defaults[key]), shown(value)] for key, value in flat(PRESETS[name])]


def rewrite(markdown: str) -> str:
    """docs/parameters.md with defaults, readers and preset tables as the files have them."""
    family, section, done, out = "", "", False, []
    for line in markdown.splitlines():
        if line.startswith("## "):
            family, section = (code(line) or [""])[0], ""
        elif line.startswith("#"):
            section, done = (code(line) or [""])[0], False
        defaults = SECTIONS.get((family, section))
        if defaults is not None and line.startswith("Read by "):
            line = readers_line(family, section)
        if defaults is not None and line.startswith("| `"):
            row = cells(line)
            row[1] = shown(defaults[code(row[0])[0]])
            line = f"| {' | '.join(row)} |"
        if section in PRESETS and line.startswith("|---") and not done:
            out.append(line)
            out += [f"| {' | '.join(row)} |" for row in preset_rows(section)]
            done = True
            continue
        if section in PRESETS and line.startswith("| `"):
            continue
        out.append(line)
    return "\n".join(out) + "\n"


def test_every_schema_has_its_table() -> None:
    stores = [import_module(f"pipeline.artifacts.{path.stem}") for path in (ROOT / "pipeline/artifacts").glob("*.py")]
    known = [value for store in stores for value in vars(store).values() if isinstance(value, pa.Schema)]
    assert known
    assert all(any(schema is listed for listed in TABLES.values()) for schema in known)


@pytest.mark.parametrize("stage, file", TABLES)
def test_columns_and_types_are_documented(stage: str, file: str) -> None:
    (of_stage,) = [body for names, body in parts(text("artifacts.md"), 2) if stage in names]
    (of_file,) = [body for names, body in parts(of_stage, 3) if names[:1] == [file]]
    documented = [(name, row[1]) for row in rows(of_file) for name in code(row[0])]
    kinds = {"float": "float32"}
    assert documented == [(f.name, kinds.get(str(f.type), str(f.type))) for f in TABLES[stage, file]]


def test_every_stage_has_its_part_in_artifacts() -> None:
    own = {name for family, graph in GRAPHS.items() for name in graph if name.replace(family, "NAME") not in DENSE}
    assert sorted(name for names, _ in parts(text("artifacts.md"), 2) for name in names) == sorted({*own, *DENSE})


def stages_of(graph: Path) -> list[str]:
    return list(yaml.safe_load(graph.read_text(encoding="utf-8"))["stages"])


@pytest.mark.parametrize("graph", [*(ROOT / "graphs").glob("*.yaml"), ROOT / "tests/families/points/graph.yaml"])
def test_every_stage_of_every_family_has_its_part_in_artifacts(graph: Path) -> None:
    """By its own name, or that of a dense family's."""
    name = graph.parent.name if graph.name == "graph.yaml" else graph.stem
    documented = {own for names, _ in parts(text("artifacts.md"), 2) for own in names}
    assert {own for own in stages_of(graph) if own.replace(name, "NAME") not in documented} <= documented


def test_diagram_has_the_edges_of_dvc_yaml() -> None:
    diagram = text("faster-rcnn.md").partition("```mermaid\n")[2].partition("```")[0]
    drawn = re.findall(r"^\s*(\w+) --> (\w+)$", diagram, flags=re.MULTILINE)
    wired = {
        (dep.split("/")[1], name) for name, stage in STAGES.items() for dep in stage["deps"] if "/code/" not in dep
    }
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == wired
    assert set(STAGES) <= {end for edge in drawn for end in edge}


@pytest.mark.parametrize(("family", "section"), SECTIONS)
def test_parameters_are_documented_with_their_defaults(family: str, section: str) -> None:
    title = f"Sections of {family_of(family).title} (`{family}`)\n" if family else "Sections of all families\n"
    (of_family,) = [part for part in text("parameters.md").split("\n## ") if part.startswith(title)]
    (body,) = [body for names, body in parts(of_family, 3) if names == [section]]
    documented = {code(row[0])[0]: row[1] for row in rows(body)}
    expected = {key: shown(value) for key, value in SECTIONS[family, section].items()}
    assert documented == expected, "run python tests/test_docs.py"
    assert readers_line(family, section) in body.splitlines(), "run python tests/test_docs.py"


def test_params_yaml_has_the_parameters_of_the_defaults() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert [key for key, _ in flat(params)] == [key for key, _ in flat(DEFAULTS["faster_rcnn"])]


def test_presets_are_documented() -> None:
    documented = {names[0]: rows(body) for names, body in parts(text("parameters.md"), 3) if names[0] in PRESETS}
    assert documented == {name: preset_rows(name) for name in PRESETS}, "run python tests/test_docs.py"


@pytest.mark.parametrize("page", [*DOCS.glob("*.md"), *ROOT.glob("README.md")], ids=lambda page: page.name)
def test_relative_links_resolve(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    local = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in local if target and not (page.parent / target).exists()] == []


if __name__ == "__main__":
    PARAMETERS.write_text(rewrite(PARAMETERS.read_text(encoding="utf-8")), encoding="utf-8")
