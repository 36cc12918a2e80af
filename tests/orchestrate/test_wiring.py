"""dvc.yaml says what the stages do: code, parameters, inputs and outputs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.orchestrate.code_deps import modules_used_by
from pipeline.orchestrate.wiring import expected_code_deps, stage_module
from pipeline.params.file import SECTIONS
from tests.conftest import ROOT

GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STAGES = sorted({stage_module(stage["cmd"]).stem for stage in GRAPH.values()})


def _option(command: str, option: str) -> str:
    words = command.split()
    return words[words.index(option) + 1]


@pytest.mark.parametrize("name", GRAPH)
def test_code_deps_are_exactly_the_modules_that_the_stage_imports(name: str) -> None:
    listed = [dep for dep in GRAPH[name]["deps"] if dep.endswith(".py")]
    assert listed == expected_code_deps(GRAPH[name]["cmd"], ROOT), "say `frcnn wire`"


@pytest.mark.parametrize("name", GRAPH)
def test_the_command_names_the_parameters_inputs_and_outputs_that_dvc_knows(name: str) -> None:
    stage = GRAPH[name]
    assert _option(stage["cmd"], "--params").split(",") == stage["params"]
    assert set(stage["params"]) <= set(SECTIONS)
    out = _option(stage["cmd"], "--out")
    assert out == f"data/{name}"
    assert {Path(path).parts[:2] for path in stage["outs"] + stage.get("metrics", [])} == {("data", name)}
    inputs = {word for word in stage["cmd"].split() if word.startswith("data/")} - {out}
    assert inputs == {dep for dep in stage["deps"] if not dep.endswith(".py")}


def test_a_module_imported_only_indirectly_or_inside_a_function_is_found(tmp_path: Path) -> None:
    for folder in ("stages", "pipeline"):
        (tmp_path / folder).mkdir()
    (tmp_path / "stages/a.py").write_text("from pipeline.b import f\n")
    (tmp_path / "pipeline/b.py").write_text("def f():\n    import pipeline.c\n")
    (tmp_path / "pipeline/c.py").write_text("from pipeline import d\n")
    (tmp_path / "pipeline/d.py").write_text("import numpy\n")
    found = {path.as_posix() for path in modules_used_by(Path("stages/a.py"), tmp_path)}
    assert found == {"pipeline/b.py", "pipeline/c.py", "pipeline/d.py"}


def test_packages_of_stages_hold_a_docstring_only_so_that_they_need_not_be_deps() -> None:
    used = {(ROOT / dep).parent for stage in GRAPH.values() for dep in expected_code_deps(stage["cmd"], ROOT)}
    for path in [folder / "__init__.py" for folder in used]:
        if path == ROOT / "stages/__init__.py":
            continue  # what it does besides, finding the environment, is no part of a result
        body = ast.parse(path.read_text()).body
        assert len(body) == 1 and isinstance(body[0], ast.Expr), path


def test_the_library_never_imports_a_stage_and_the_detector_nothing_but_itself_and_geometry() -> None:
    for path in ROOT.glob("pipeline/**/*.py"):
        used = {module.as_posix() for module in modules_used_by(path.relative_to(ROOT), ROOT)}
        assert not any(module.startswith("stages/") for module in used), path
        if path.parent.name == "detector":
            assert all(module.startswith(("pipeline/detector/", "pipeline/geometry/")) for module in used), path
        if path.parent.name == "geometry":
            assert all(module.startswith("pipeline/geometry/") for module in used), path


def test_the_detector_imports_nothing_but_torch_numpy_and_the_standard_library() -> None:
    allowed = {"torch", "torchvision", "numpy", "pipeline", *sys.stdlib_module_names}
    for path in (ROOT / "pipeline/detector").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= allowed, path


INFERENCE = (
    *(f"stages/{name}.py" for name in ("detect", "proposals", "features", "frozen_features", "evaluate")),
    *(f"pipeline/{name}" for name in ("bundle", "report")),
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
    ],
)
def test_an_artifacts_file_and_schema_are_named_where_its_store_is_alone(name: str, owner: str) -> None:
    spelt = []
    for path in [*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "stages").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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


@pytest.mark.parametrize("name", ["dataset", "resize", "evaluate"])
def test_stages_without_tensors_do_not_import_torch(name: str) -> None:
    code = f"import sys, stages.{name}; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("module", STAGES)
def test_every_stage_has_a_help_text(module: str) -> None:
    tree = ast.parse((ROOT / f"stages/{module}.py").read_text())
    assert ast.get_docstring(tree)
