"""The graph of every family says what its stages do: code, parameters, inputs and outputs."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from pipeline.families.registry import DEFAULT, family_names, family_of, part_of
from pipeline.graphs.command import StageCommand
from pipeline.graphs.composing import composed
from pipeline.params.file import sections_of
from pipeline.params.section import Section
from pipeline.runtime.code_locks.tree import SourceTree
from tests.conftest import ROOT
from tests.defaults import DEFAULT_TEXT
from tests.in_process import OF_FAMILIES

GRAPHS = {name: yaml.safe_load(composed(ROOT, name))["stages"] for name in family_names()}
"""The stages of every family's graph."""
CODE = {name: graph.pop("code") for name, graph in GRAPHS.items()}


def read_commands(family: str) -> list[StageCommand]:
    return [StageCommand.parse(stage["cmd"]) for stage in GRAPHS[family].values()]


WIRED = [(family, name) for family, graph in GRAPHS.items() for name in graph]
RUN = sorted({(family, command.module) for family in GRAPHS for command in read_commands(family)})
DENSE = ("dense_targets", "train_dense", "detect_dense")
"""Modules of stages/ that dense families alone run."""


def _option(command: str, option: str) -> str:
    words = command.split()
    return words[words.index(option) + 1]


STAGES = sorted({module for family, module in RUN if family == DEFAULT})


@cache  # as it parses no source twice
def _tree(root: Path) -> SourceTree:
    return SourceTree(root, ("pipeline", "stages"), {})


def modules_used_by(module: Path, root: Path) -> set[Path]:
    """The project's modules that one imports, directly or not; not itself, and no packages' `__init__.py`."""
    name = ".".join(module.with_suffix("").parts)
    found = {Path(path) for path in _tree(root).lock(name).modules} - {module}
    return {path for path in found if path.name != "__init__.py"}


def test_the_committed_graph_and_parameters_are_those_of_preset_default() -> None:
    assert (ROOT / "dvc.yaml").read_text() == composed(ROOT, DEFAULT), "run frcnn graph"
    assert (ROOT / "params.yaml").read_text() == DEFAULT_TEXT, "run frcnn preset default"


def test_every_family_has_a_graph_file_and_every_graph_file_a_family() -> None:
    assert {path.stem for path in (ROOT / "graphs").glob("*.yaml")} == {*family_names(), "common"}


@pytest.mark.parametrize(("family", "name"), WIRED)
def test_every_stage_depends_on_the_lock_of_the_module_that_it_runs(family: str, name: str) -> None:
    stage = GRAPHS[family][name]
    command = StageCommand.parse(stage["cmd"])
    assert command.family in ("", family) and (command.module in OF_FAMILIES) == bool(command.family)
    lock = f"data/code/{command.module}{f'-{family}' if command.family else ''}.json"
    assert _option(stage["cmd"], "--code") == lock
    assert [dep for dep in stage["deps"] if dep.startswith("data/code/")] == [lock]


@pytest.mark.parametrize("family", GRAPHS)
def test_stage_code_writes_the_locks_that_stages_depend_on_and_always_runs(family: str) -> None:
    stages, code = GRAPHS[family].values(), CODE[family]
    assert code["outs"] == sorted({dep for stage in stages for dep in stage["deps"] if dep.startswith("data/code/")})
    assert code["always_changed"] is True and "deps" not in code


def test_every_module_of_stages_is_run_by_some_family() -> None:
    modules = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__", "code"}
    assert {module for _, module in RUN} | set(DENSE) == modules


@pytest.mark.parametrize("family", GRAPHS)
def test_a_graph_lists_no_module_and_is_short_enough_to_be_read(family: str) -> None:
    assert not [dep for stage in GRAPHS[family].values() for dep in stage["deps"] if dep.endswith(".py")]
    assert len(composed(ROOT, family).splitlines()) <= 750


def _sections(module: str, family: str) -> dict[str, type[Section]]:
    """The models that a stage's module, and the family's part of it, name for the sections it may be given."""
    loaded = import_module(f"stages.{module}")
    tree = ast.parse((ROOT / f"stages/{module}.py").read_text())
    (given,) = (node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "sections")
    assert isinstance(given, ast.Dict)
    pairs = zip(given.keys, given.values, strict=True)
    own = {key.value: getattr(loaded, value.id) for key, value in pairs}  # type: ignore[union-attr,attr-defined]
    part = part_of(family, module) if module in OF_FAMILIES else None
    return own if part is None else {**own, **part.SECTIONS}


@pytest.mark.parametrize(("family", "module"), RUN)
def test_a_stage_names_the_models_of_just_the_sections_that_its_commands_give(family: str, module: str) -> None:
    sections, models = _sections(module, family), sections_of(family_of(family))
    given = {
        own: {name for command in read_commands(own) if command.module == module for name in command.params}
        for own in GRAPHS
    }
    # A module that several graphs run may take a section that only the commands of another give it.
    beyond = set(sections) - given[family]
    assert given[family] <= set(sections) and beyond <= set().union(*given.values())
    assert {name: models[name] for name in sections if name in models} == {
        name: model for name, model in sections.items() if name in models
    }


@pytest.mark.parametrize(("family", "name"), WIRED)
def test_the_command_names_the_parameters_inputs_and_outputs_that_dvc_knows(family: str, name: str) -> None:
    stage = GRAPHS[family][name]
    assert _option(stage["cmd"], "--params").split(",") == stage["params"]
    assert set(stage["params"]) <= set(sections_of(family_of(family)))
    out = _option(stage["cmd"], "--out")
    assert out == f"data/{name}"
    assert {Path(path).parts[:2] for path in stage["outs"] + stage.get("metrics", [])} == {("data", name)}
    inputs = {word for word in stage["cmd"].split() if word.startswith("data/")} - {out}
    assert inputs == set(stage["deps"])


@pytest.mark.parametrize("family", GRAPHS)
def test_a_graph_has_the_stages_that_its_family_names(family: str) -> None:
    declared, stages = family_of(family), GRAPHS[family]
    judged = {f"{verb}_{network}" for network in declared.networks for verb in ("detect", "evaluate")}
    trained = {stage for network in declared.networks.values() for stage in network.parts.values()}
    assert {*declared.training, *judged, *trained} <= stages.keys()


ROOMS = {
    "pipeline/geometry": ("pipeline/geometry/",),
    "pipeline/metrics": ("pipeline/metrics/",),
    "pipeline/nn": ("pipeline/nn/", "pipeline/geometry/"),
    "pipeline/families/faster_rcnn/nn": ("pipeline/families/faster_rcnn/nn/", "pipeline/nn/", "pipeline/geometry/"),
}
"""What the modules of a room may import of the project."""


def test_the_library_never_imports_a_stage() -> None:
    paths = [path.relative_to(ROOT).with_suffix("") for path in sorted(ROOT.glob("pipeline/**/*.py"))]
    first, *others = (".".join(path.parts) for path in paths if path.name != "__init__")
    # What any of them reaches, at once: 600 closures, most of them equal, take seconds.
    reached = _tree(ROOT).lock(first, others).modules
    assert len(reached) > len(others) and not [path for path in reached if path.startswith("stages/")]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_of_mathematics_imports_nothing_but_what_is_below_it(room: str) -> None:
    paths = sorted((ROOT / room).rglob("*.py"))
    assert len(paths) > 3
    for path in paths:
        used = {module.as_posix() for module in modules_used_by(path.relative_to(ROOT), ROOT)}
        assert [module for module in used if not module.startswith(ROOMS[room])] == [], path


def test_networks_import_nothing_but_torch_numpy_and_the_standard_library() -> None:
    allowed = {"torch", "torchvision", "numpy", "pipeline", *sys.stdlib_module_names}
    paths = [path for room in ROOMS if room.endswith("nn") for path in (ROOT / room).rglob("*.py")]
    assert len(paths) > 20
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= allowed, path


INFERENCE = (
    *(
        f"stages/{name}.py"
        for name in ("detect", "proposals", "features", "frozen_features", "evaluate", "detect_dense")
    ),
    *(f"pipeline/{name}" for name in ("bundle", "report", "families/faster_rcnn/report")),
)


@pytest.mark.parametrize("name", INFERENCE)
def test_inference_bundles_and_the_report_import_nothing_of_training(name: str) -> None:
    modules = [ROOT / name] if name.endswith(".py") else sorted((ROOT / name).glob("*.py"))
    assert modules
    used = set().union(*(modules_used_by(module.relative_to(ROOT), ROOT) for module in modules))
    assert [path for path in used if path.is_relative_to("pipeline/training")] == []


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("proposals.parquet", "pipeline/artifacts/proposals.py"),
        ("proposal_targets.parquet", "pipeline/artifacts/proposal_targets.py"),
        ("normalisation.json", "pipeline/artifacts/proposal_targets.py"),
        ("fg_anchors.parquet", "pipeline/artifacts/anchor_targets.py"),
        ("FG_ANCHORS", "pipeline/artifacts/anchor_targets.py"),
        ("ANCHOR_IMAGES", "pipeline/artifacts/anchor_targets.py"),
        ("PROPOSALS", "pipeline/artifacts/proposals.py"),
        ("PROPOSAL_TARGETS", "pipeline/artifacts/proposal_targets.py"),
        ("fg_locations.parquet", "pipeline/artifacts/dense_targets.py"),
        ("FG_LOCATIONS", "pipeline/artifacts/dense_targets.py"),
        ("LEVEL_IMAGES", "pipeline/artifacts/dense_targets.py"),
    ],
)
def test_an_artifacts_file_and_schema_are_named_where_its_store_is_alone(name: str, owner: str) -> None:
    spelt = []
    for path in [*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "stages").glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        if name not in text:
            continue  # to parse all modules takes seconds
        for node in ast.walk(ast.parse(text)):
            literal = isinstance(node, ast.Constant) and node.value == name
            schema = isinstance(node, ast.Name | ast.alias | ast.Attribute) and ast.unparse(node).split(".")[-1] == name
            if literal or schema:
                spelt.append(path.relative_to(ROOT).as_posix())
    assert set(spelt) == {owner}


def test_every_schema_is_of_one_module_and_a_stage_imports_only_those_of_the_tables_it_writes_or_reads() -> None:
    owners = {}
    for path in (ROOT / "pipeline/artifacts").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("table_schema("):
                name = ast.unparse(node.targets[0])
                assert name not in owners
                owners[name] = path.relative_to(ROOT)
    reached = {stage: modules_used_by(Path(f"stages/{stage}.py"), ROOT) & set(owners.values()) for stage in STAGES}
    for name, stage in (("FINDINGS", "dataset"), ("MATCHES", "evaluate")):
        assert [own for own in STAGES if owners[name] in reached[own]] == [stage]
    assert {path.stem for path in reached["dataset"]} == {"dataset_tables", "findings_table"}
    assert {path.stem for path in reached["resize"]} == {"dataset_tables", "resized_tables"}


@pytest.mark.parametrize("name", ["dataset", "resize", "evaluate", "dense_targets"])
def test_stages_without_tensors_do_not_import_torch(name: str) -> None:
    code = f"import sys, stages.{name}; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("module", STAGES)
def test_every_stage_has_a_help_text(module: str) -> None:
    tree = ast.parse((ROOT / f"stages/{module}.py").read_text())
    assert ast.get_docstring(tree)
