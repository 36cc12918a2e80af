"""Which stages an edit of the sources reruns, by their locks: what no lock names, or names unchanged, reruns nothing.

On copies of pipeline/ and stages/; tests/orchestrate has DVC run some of these.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from typing import get_args

import pytest

from pipeline.families.registry import DEFAULT, family_names, family_of
from pipeline.params.dataset import DatasetParams
from pipeline.params.file import sections_of
from tests.conftest import SECTIONS
from tests.families.points_project import visible
from tests.runtime.code_locks.edited_sources import (
    GRAPH,
    MODULES,
    POINTS,
    RCNN,
    Sources,
    lock_of,
    module_of,
    stages_of,
)

OWN_EVALUATIONS = {"evaluate_step2", "evaluate_step4", "evaluate_joint"}
EVALUATIONS = OWN_EVALUATIONS | {"evaluate_points"}
DETECTIONS = {"detect_step2", "detect_step4", "detect_joint"}
RPN_TRAININGS = {"train_rpn_step1", "train_rpn_step3", "finetune_joint"}
HEAD_TRAININGS = {"train_head_step2", "train_head_step4", "finetune_joint"}
OWN_TRAININGS = RPN_TRAININGS | HEAD_TRAININGS
TRAININGS = OWN_TRAININGS | {"train_points"}
OF_ORIGINALS = {"train_points", "detect_points"}
"""Which decode images where `resize.keep` is none."""
PROPOSALS = {"proposals_step1", "proposals_step3"}
DATA = {"dataset", "resize"} | EVALUATIONS


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return Sources(tmp_path_factory.mktemp("sources"))


def with_a_line(text: str) -> str:
    return text + "\nADDED = 1\n"


def _with_other_docstrings(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        for body in (getattr(node, field, None) for field in ("body", "orelse", "finalbody")):
            for statement in body if isinstance(body, list) else ():
                value = statement.value if isinstance(statement, ast.Expr) else None
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    value.value += "\nAnd more."
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not ast.get_docstring(node):
            node.body.insert(0, ast.Expr(ast.Constant("A docstring where there was none.")))
    return ast.unparse(ast.fix_missing_locations(tree)) + '\n"""At the end."""\n'


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: ("# A comment.\n" + text.replace("\n\n", "\n\n    # Another.\n\n") + "# End.").replace(
            "\n", "\r\n"
        ),
        _with_other_docstrings,
    ],
    ids=["comments and line ends", "docstrings and layout"],
)
def test_comments_docstrings_and_layout_of_all_modules_at_once_rerun_nothing(
    sources: Sources, edit: Callable[[str], str]
) -> None:
    def edited(text: str) -> str:
        return edit(text) if text else "# A comment.\n"

    closures = {path for lock in sources.locks.values() for path in lock.modules}
    # A comment put into a text over several lines is none.
    paths = [path for path in closures if '= """' not in (sources.root / path).read_text(encoding="utf-8")]
    assert len(paths) > 140
    assert sources.rerun_by_editing(paths, edited) == set()


OUTSIDE = (
    *(
        f"pipeline/runtime/{name}.py"
        for name in ("progress", "run_times", "words", "stopping", "locking", "data_folder")
    ),
    *(f"pipeline/runtime/{name}.py" for name in ("stage_process", "run_key", "version", "surroundings", "own_code")),
    "pipeline/cli.py",
    *("pipeline/runtime/code_locks/*.py", "pipeline/orchestrate/*.py", "pipeline/workers/*.py", "pipeline/report/*.py"),
    *("pipeline/views/**/*.py", "pipeline/bundle/*.py", "pipeline/export/*.py", "pipeline/preflight/*.py"),
    *(f"pipeline/families/{name}.py" for name in ("family", "registry", "checking", "*/family")),
    *(f"pipeline/families/*/{part}.py" for part in ("bundle", "export", "exported/*", "ablations", "figures")),
    *(f"pipeline/families/*/{part}.py" for part in ("panels/*", "report/*", "check_data")),
    *("pipeline/compare/*.py", "pipeline/walk/*.py", "pipeline/judging/*.py", "pipeline/dense/torchvision_export.py"),
    *("pipeline/dense/bundle.py", "pipeline/dense/export.py", "pipeline/params/file.py", "pipeline/params/limits.py"),
    *("pipeline/params/augment_checks.py", "pipeline/params/depth_checks.py"),
    *("pipeline/data_layouts/*.py", "pipeline/presets/*.py", "pipeline/graphs/*.py", "pipeline/exchange/commands.py"),
    *("pipeline/exchange/exporting.py", "pipeline/preload/*.py", "stages/code.py", "stages/__init__.py"),
)


def test_what_tells_a_person_something_or_starts_stages_reruns_nothing(sources: Sources) -> None:
    paths = sources.matching(*OUTSIDE)
    assert len(paths) > 100
    assert sources.rerun_by_editing(paths, with_a_line) == set()


def test_no_other_modules_but_these_are_run_by_no_stage(sources: Sources) -> None:
    inside = {path for lock in sources.locks.values() for path in lock.modules}
    others = set(family_names()) - {stage.family or DEFAULT for stage in GRAPH.values()} - {DEFAULT}
    of_another_graph = sources.matching(
        *(f"pipeline/families/{name}/**/*.py" for name in others),
        "stages/train_end_to_end.py",
        "pipeline/dense/initial_network.py",  # read by the families' `family.py`
        "pipeline/dense/empty_boxes.py",  # by their `train_dense.py`
    )
    beside = set(sources.paths) - inside - set(sources.matching(*OUTSIDE)) - set(of_another_graph)
    assert beside == {
        "pipeline/datasets/fetching.py",  # for `frcnn preset`
        f"{RCNN}/nn/network.py",  # for bundles
        f"{RCNN}/recall_plots.py",  # for `frcnn inspect`
        "pipeline/training/batch.py",  # a type
        "pipeline/runtime/yaml_blocks.py",  # for `frcnn graph`
    }


TOOLS = ("labelme", "cvat", "label_studio", "vott", "openimages")
"""Readers of the formats of annotation tools."""

EDITS = {
    # What is read.
    **{f"pipeline/datasets/tools/{name}.py": {"dataset"} for name in TOOLS},
    **{f"pipeline/datasets/{name}.py": {"dataset"} for name in ("voc", "coco", "kitti", "yolo", "table", "shapes")},
    "pipeline/datasets/shape_drawing.py": {"dataset", "backbone"},  # which pre-trains on such shapes
    "pipeline/datasets/image_headers.py": {"dataset", "resize"} | OF_ORIGINALS,
    "pipeline/datasets/interpolation.py": {"resize"} | OF_ORIGINALS,
    "pipeline/datasets/resizing.py": {"resize"},
    "pipeline/exchange/importing.py": PROPOSALS,
    # The network.
    "pipeline/nn/anchor_matching.py": {"anchor_targets"},
    f"{RCNN}/nn/roi_head.py": HEAD_TRAININGS | DETECTIONS,
    f"{RCNN}/building/roi_head.py": HEAD_TRAININGS | DETECTIONS,
    "pipeline/nn/roi_align.py": HEAD_TRAININGS | DETECTIONS,
    f"{RCNN}/nn/roi_losses.py": HEAD_TRAININGS,
    f"{RCNN}/nn/rpn.py": RPN_TRAININGS | PROPOSALS | DETECTIONS,
    f"{RCNN}/building/rpn.py": RPN_TRAININGS | PROPOSALS | DETECTIONS,
    f"{RCNN}/nn/rpn_losses.py": RPN_TRAININGS,
    f"{RCNN}/nn/proposals.py": PROPOSALS | DETECTIONS | {"finetune_joint"},
    f"{RCNN}/nn/proposal_matching.py": {
        "proposal_targets_step2",
        "proposal_targets_step4",
        "finetune_joint",
    },
    "pipeline/nn/postprocess.py": DETECTIONS | {"detect_points"},
    "pipeline/nn/smooth_l1.py": OWN_TRAININGS,
    "pipeline/nn/sampling.py": OWN_TRAININGS,
    "pipeline/dense/decoding.py": {"detect_points"},
    "pipeline/dense/targets.py": {"train_points"},
    "pipeline/dense/step.py": {"train_points"},
    # Training.
    "pipeline/training/loop.py": TRAININGS,
    "pipeline/training/order.py": TRAININGS,
    f"{RCNN}/training/rpn_step.py": RPN_TRAININGS,
    f"{RCNN}/training/head_step.py": HEAD_TRAININGS,
    f"{RCNN}/training/joint_step.py": {"finetune_joint"},
    "pipeline/training/pretrain.py": {"backbone"},
    "pipeline/training/checkpoints.py": TRAININGS | {"backbone"},
    # Cached maps.
    "pipeline/feeding/writing_maps.py": {"features", "frozen_features"},
    # Figures.
    **{
        f"pipeline/metrics/{name}.py": EVALUATIONS
        for name in ("coco_ap", "detection_matching", "error_kinds", "figures", "voc_ap")
    },
    "pipeline/metrics/rows.py": EVALUATIONS | {"points_targets", "train_points"},  # which crop by IoU
    # Drawn views.
    "pipeline/augment/drawing.py": {"points_targets", "train_points"},
    "pipeline/augment/pixels.py": {"train_points"},
    "pipeline/dense/drawn.py": {"points_targets", "train_points"},
    "pipeline/metrics/recall.py": OWN_EVALUATIONS,
    "pipeline/artifacts/matches.py": EVALUATIONS,
    "pipeline/artifacts/detections.py": EVALUATIONS | DETECTIONS | {"detect_points"},
    # All.
    "pipeline/runtime/stage.py": set(GRAPH),
    "pipeline/artifacts/atomic.py": set(GRAPH),
    "pipeline/params/section.py": set(GRAPH),
}


@pytest.mark.parametrize("path", EDITS)
def test_an_edit_reruns_the_stages_that_run_it(sources: Sources, path: str) -> None:
    assert sources.rerun_by_editing([path], with_a_line) == EDITS[path]


def test_every_reader_and_every_figure_has_its_line_in_the_table(sources: Sources) -> None:
    readers = get_args(DatasetParams.model_fields["reader"].annotation)
    own = [f"pipeline/datasets/{name}.py" for name in readers if name not in TOOLS]
    assert len(own) == 6 and set(TOOLS) <= set(readers)
    assert {*own, *(f"pipeline/datasets/tools/{name}.py" for name in TOOLS)} <= EDITS.keys()
    assert {path for path in sources.matching("pipeline/metrics/*.py") if "__init__" not in path} <= EDITS.keys()


@pytest.mark.parametrize("module", MODULES)
def test_an_edit_of_a_stages_module_reruns_the_stages_that_run_it(sources: Sources, module: str) -> None:
    name = module.removeprefix("stages.")
    assert sources.rerun_by_editing([f"stages/{name}.py"], with_a_line) == stages_of(name)


@cache
def _files_of_sections() -> dict[str, set[str]]:
    """By file of pipeline/params the sections whose model it defines, or a model that theirs builds on."""
    found: dict[str, set[str]] = {}
    with visible():
        sections = {**SECTIONS, **sections_of(family_of("points"))}
    for section, model in sections.items():
        for base in model.__mro__:
            if base.__module__.startswith("pipeline.params."):
                found.setdefault(base.__module__.replace(".", "/") + ".py", set()).add(section)
    return found


@pytest.mark.parametrize("path", sorted(_files_of_sections()))
def test_a_new_key_reruns_the_stages_that_have_the_section(sources: Sources, path: str) -> None:
    modules = {module_of(name) for name, stage in GRAPH.items() if _files_of_sections()[path] & set(stage.params)}
    if path.endswith("initial.py"):
        # Which faster_rcnn_joint's graph gives the section, and those of a detector that starts from another.
        modules |= {"stages.detect", "stages.detect_dense", "stages.train_dense"}
    assert sources.rerun_by_editing([path], lambda text: text.rstrip("\n") + "\n    added: Count\n") == {
        stage for stage in GRAPH if module_of(stage) in modules
    }


def test_a_new_key_of_the_evaluation_reruns_the_evaluations_alone(sources: Sources) -> None:
    path = "pipeline/params/evaluate.py"
    text = (sources.root / path).read_text(encoding="utf-8")
    for old, new in (("split: ", "added: int\n    split: "), ("Count", "int"), ('"val", "test"', '"test", "val"')):
        assert sources.rerun_by({path: text.replace(old, new)}) == EVALUATIONS


def test_training_is_reached_by_no_stage_that_only_infers_reads_or_judges(sources: Sources) -> None:
    paths = sources.matching("pipeline/training/**/*.py")
    assert sources.rerun_by_editing(paths, with_a_line) == TRAININGS | {"backbone"}


def test_the_network_is_reached_by_no_stage_of_data_or_figures(sources: Sources) -> None:
    paths = sources.matching("pipeline/nn/*.py", "pipeline/building/*.py")
    assert sources.rerun_by_editing(paths, with_a_line) == set(GRAPH) - DATA


@pytest.mark.parametrize(
    ("path", "stages"),
    {
        f"{POINTS}/__init__.py": {"points_targets", "train_points", "detect_points", "evaluate_points"},
        f"{POINTS}/dense_targets.py": {"points_targets", "train_points"},
        f"{POINTS}/train_dense.py": {"train_points"},
        f"{POINTS}/detect_dense.py": {"detect_points"},
        f"{POINTS}/evaluate.py": {"evaluate_points"},
        f"{POINTS}/family.py": set(),
        f"{RCNN}/evaluate.py": OWN_EVALUATIONS,
        "stages/evaluate.py": EVALUATIONS,
    }.items(),
)
def test_an_edit_of_one_familys_part_reruns_no_stage_of_another(sources: Sources, path: str, stages: set[str]) -> None:
    assert sources.rerun_by_editing([path], with_a_line) == stages


def test_no_stage_of_one_family_reaches_another(sources: Sources) -> None:
    for name, stage in GRAPH.items():
        reached = {path.split("/")[2] for path in sources.locks[lock_of(name)].modules if "pipeline/families/" in path}
        assert reached <= {"__init__.py", stage.family or "faster_rcnn"}, name


def test_a_new_import_reruns_what_imports_the_module_and_then_so_do_edits_of_what_it_imports(sources: Sources) -> None:
    path, imported = "pipeline/datasets/resizing.py", "pipeline/runtime/yaml_blocks.py"
    text, other = ((sources.root / name).read_text(encoding="utf-8") for name in (path, imported))
    new, edited = (
        {path: text + "\ndef late():\n    from pipeline.runtime import yaml_blocks\n"},
        {imported: with_a_line(other)},
    )
    assert sources.rerun_by(new) == {"resize"} and sources.rerun_by(edited) == set()
    assert sources.rerun_by(edited, after=new) == {"resize"}
