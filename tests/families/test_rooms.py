"""Rooms that serve every family import none by name, and name no network and no stage of one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest
import yaml

from pipeline.families.registry import DEFAULT, family_names, family_of, part_of
from pipeline.graphs.command import StageCommand
from tests.conftest import ROOT

FAMILIES = "pipeline/families"

IMPORTS: dict[str, str] = {
    "pipeline/walk/network.py": "frcnn walk is a walk through this family",
    "pipeline/walk/labels.py": "the same",
    "pipeline/walk/page.py": "the same",
    "pipeline/walk/proposals.py": "the same",
    "pipeline/walk/resizing.py": "the same",
    "pipeline/walk/rois.py": "the same",
    "pipeline/walk/rpn_outputs.py": "the same",
}
"""Modules that import a family by its name, and why they may."""

NAMES: dict[str, str] = {
    "pipeline/building/torchvision_dense.py": "torchvision's own detectors, of the same names",
    "pipeline/building/torchvision_ssd.py": "the same",
    "pipeline/exchange/commands.py": "proposals are exported of families that have them; the default folder is one",
    "pipeline/families/registry.py": "a params.yaml of before there were families names none",
}
"""Modules that name a family, a network or a stage, and why they may."""

SHARED = {"features", "frozen_features"}
"""Stages that are named as their modules in stages/, which any family may run."""


@cache
def _modules() -> dict[str, ast.Module]:
    """Every module of the library outside of the families' folders in whose text a family, or what is its own, is
    named at all."""
    found = {}
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        own = any(name.startswith(f"{FAMILIES}/{family}/") for family in family_names())
        if not own and _pattern().search(text):
            found[name] = ast.parse(text)
    return found


def _imports(tree: ast.Module) -> set[str]:
    """The families that a module imports from, wherever in it."""
    names: list[str] = []
    for node in ast.walk(tree):
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return {
        family for family in family_names() for name in names if f"{name}.".startswith(f"pipeline.families.{family}.")
    }


def _strings(tree: ast.Module) -> Iterator[str]:
    """All texts of a module but docstrings, those in f-strings too."""
    described = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = set()
    for node in ast.walk(tree):
        if isinstance(node, described):
            for statement in node.body:  # an attribute's description is a statement of its own, too
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    docs.add(id(statement.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def _own_names(family: str) -> set[str]:
    """A family's own name and title, its networks and its stages."""
    graph = yaml.safe_load((ROOT / f"graphs/{family}.yaml").read_text(encoding="utf-8"))
    own = family_of(family)
    return {own.name, own.title, *own.networks, *graph["stages"]} - SHARED


@cache
def _pattern() -> re.Pattern[str]:
    names = set().union(*(_own_names(family) for family in family_names()))
    return re.compile(rf"(?<![A-Za-z0-9_])(?:{'|'.join(map(re.escape, sorted(names)))})(?![A-Za-z0-9_])")


def _named(tree: ast.Module) -> set[str]:
    return {found for text in _strings(tree) for found in _pattern().findall(text)}


def test_no_shared_module_imports_a_family() -> None:
    found = {name: own for name, tree in _modules().items() if (own := _imports(tree))}
    assert {name: own for name, own in found.items() if name not in IMPORTS} == {}
    assert set(IMPORTS) - set(found) == set(), "no longer so: take them out of the list"


def test_no_shared_module_names_a_family_its_networks_or_its_stages() -> None:
    found = {name: own for name, tree in _modules().items() if (own := _named(tree))}
    assert {name: own for name, own in found.items() if name not in NAMES} == {}
    assert set(NAMES) - set(found) == set(), "no longer so: take them out of the list"


@pytest.mark.parametrize("family", family_names())
@pytest.mark.parametrize(("part", "table"), [("panels", "PANELS"), ("figures", "FIGURES"), ("figures", "PICTURES")])
def test_what_a_family_shows_is_of_modules_that_its_graph_runs(family: str, part: str, table: str) -> None:
    listed = set(getattr(part_of(family, part), table, {}))
    graph = yaml.safe_load((ROOT / f"graphs/{family}.yaml").read_text(encoding="utf-8"))
    assert listed <= {StageCommand.parse(stage["cmd"]).module for stage in graph["stages"].values()}


@pytest.mark.parametrize(
    ("text", "imports", "names"),
    [
        ("from pipeline.families.faster_rcnn.nn.rpn import RPNHead", {DEFAULT}, set()),
        ("def f():\n    import pipeline.families.faster_rcnn", {DEFAULT}, set()),
        ("from pipeline.families import faster_rcnn", {DEFAULT}, set()),
        ("from pipeline.families.registry import part_of", set(), set()),
        ('x = f"data/{y}/train_rpn_step1"', set(), {"train_rpn_step1"}),
        ('x = {"step4": 1, "resize": 2}', set(), {"step4"}),
        ('def f():\n    """Of step4."""\n    return "my_step4, step 4"', set(), set()),
    ],
)
def test_both_are_found(text: str, imports: set[str], names: set[str]) -> None:
    assert (_imports(ast.parse(text)), _named(ast.parse(text))) == (imports, names)
