"""`frcnn preset` for any family: its graph, its sections and no others, and what it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipeline.families.registry import DEFAULT, family_of
from pipeline.graphs.composing import composed
from pipeline.graphs.present import check_same_family
from pipeline.params.file import COMMON, load_params, sections_of
from pipeline.presets import apply
from pipeline.presets.apply import apply_preset, chosen_params, preset_names, preset_params
from pipeline.presets.defaults import default_text
from pipeline.presets.settings import differences, nearest_preset, preset_line
from pipeline.runtime.errors import InputError
from tests.defaults import copy_graphs
from tests.families.points_project import FILES, visible

PRESET = "shapes_points"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder where the presets of two families can be applied: Faster R-CNN and the made-up one."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    copy_graphs(folder)
    shutil.copyfile(FILES / "graph.yaml", folder / "graphs/points.yaml")
    presets = Path(shutil.copytree(apply._PRESETS, tmp_path / "presets"))
    shutil.copyfile(FILES / "preset.yaml", presets / f"{PRESET}.yaml")
    monkeypatch.setattr(apply, "_PRESETS", presets)
    with visible():
        yield folder


def texts(project: Path) -> tuple[str, str]:
    return (project / "dvc.yaml").read_text(), (project / "params.yaml").read_text()


def test_a_preset_writes_the_graph_and_the_sections_of_its_family_alone(project: Path) -> None:
    lines = apply_preset(project, PRESET, ["points.channels=16"])
    assert lines[:2] == ["dvc.yaml: the graph of points", f"params.yaml: {PRESET} with points.channels=16"]
    assert [line.partition(":")[0] for line in lines[2:]] == ["data/raw", "data/weights", "data/initial_detector"]
    assert texts(project)[0] == composed(project, "points")
    content = yaml.safe_load(texts(project)[1])
    assert content.pop("family") == "points" and content["points"]["channels"] == 16
    assert list(content) == list(sections_of(family_of("points")))
    assert {*COMMON} < set(content) and not content.keys() & {"rpn", "proposals", "roi_head"}
    assert load_params(project / "params.yaml").family == "points"
    check_same_family(project)


def test_there_and_back_is_the_committed_pair_and_other_families_links_stay(project: Path) -> None:
    apply_preset(project, "default", [])
    committed = texts(project)
    proposals = project / "proposals.pkl"
    proposals.write_bytes(b"")
    apply_preset(project, "default", [f"proposals.file={proposals}"])
    apply_preset(project, PRESET, [])
    assert (project / "data/external_proposals/proposals.pkl").is_symlink()
    apply_preset(project, "default", [])
    assert texts(project) == committed
    assert not list((project / "data/external_proposals").iterdir())


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("proposals.file=x.pkl", "proposals.file=x.pkl: family points has no section proposals; leave it out"),
        ("roi_head.hidden=3", "unknown parameter roi_head.hidden: family points has no section roi_head"),
        ("points.chanels=3", "unknown parameter points.chanels; the nearest is points.channels; docs/parameters.md"),
    ],
)  # fmt: skip
def test_what_a_family_has_no_section_for_is_one_line_and_changes_nothing(
    project: Path, override: str, said: str
) -> None:
    apply_preset(project, "default", [])
    before = texts(project)
    with pytest.raises(InputError) as error:
        apply_preset(project, PRESET, [override])
    assert str(error.value).startswith(said)
    assert texts(project) == before


def test_a_graph_edited_by_hand_or_wrong_or_a_place_that_is_taken_changes_nothing(project: Path) -> None:
    apply_preset(project, "default", [])
    graph, params = texts(project)
    (project / "dvc.yaml").write_text(f"{graph}# A note.\n")
    with pytest.raises(InputError, match=r"dvc\.yaml: edited by hand, so it is not overwritten; move the change to .*"):
        apply_preset(project, PRESET, [])
    (project / "dvc.yaml").write_text(graph)
    file = project / "graphs/points.yaml"
    file.write_text(file.read_text().replace("  points_targets:\n", "  resize:\n", 1))
    with pytest.raises(InputError, match=r"points\.yaml: stage resize is one of "):
        apply_preset(project, PRESET, [])
    shutil.copyfile(FILES / "graph.yaml", file)
    (project / "data/weights/mine.pth").touch()
    with pytest.raises(InputError, match=r"data/weights: holds files of its own"):
        apply_preset(project, PRESET, [])
    assert texts(project) == (graph, params)


def test_a_kill_between_the_two_files_is_told_and_cured_by_the_same_command(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply_preset(project, "default", [])

    def killed(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(apply, "write_text", killed)
        apply_preset(project, PRESET, [])
    with pytest.raises(InputError) as error:
        check_same_family(project)
    assert str(error.value) == (
        f"{project}/dvc.yaml is the graph of family points and params.yaml is of family faster_rcnn; run frcnn preset, "
        "which writes both"
    )
    apply_preset(project, PRESET, [])
    check_same_family(project)


def test_presets_are_compared_with_those_of_their_own_family(project: Path) -> None:
    own = preset_params(PRESET)
    assert own.family == "points" and preset_names("points") == [PRESET]
    assert PRESET in preset_names() and PRESET not in preset_names(DEFAULT)
    changed = chosen_params(project, PRESET, ["points.channels=8", "base.seed=3"])
    assert differences(changed, own) == {"points.channels": 8, "base.seed": 3}
    assert nearest_preset(changed) == PRESET and nearest_preset(preset_params("voc6_vgg16")) == "voc6_vgg16"
    line = preset_line(project, Path("there"), changed, None, {"points.radius": 2.5})
    assert line == f"frcnn preset {PRESET} dataset.root=there base.seed=3 points.channels=8 points.radius=2.5"


def test_a_family_without_a_preset_has_no_line_that_gives_its_parameters(project: Path) -> None:
    own = preset_params(PRESET)
    (apply._PRESETS / f"{PRESET}.yaml").unlink()
    assert nearest_preset(own) is None
    assert preset_line(project, Path("there"), own, None, {}) is None


def test_a_family_may_give_other_values_to_some_keys_of_a_common_section(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, common = family_of("points"), yaml.safe_load(default_text(family_of("points")))
    text = (FILES / "points/params.yaml").read_text()
    monkeypatch.setattr("pipeline.presets.defaults.folder_of", lambda _: tmp_path)
    (tmp_path / "params.yaml").write_text(f"{text}\nbackbone:\n  frozen_stages: 1\n  pretrain: {{iterations: 7}}\n")
    common["backbone"]["frozen_stages"] = 1
    common["backbone"]["pretrain"]["iterations"] = 7
    made = default_text(family)
    assert yaml.safe_load(made) == common and "frozen_stages: 1 # conv1 and conv2" in made
    for more, said in {
        "\nbackbone:\n  frozen: 1\n": r"params\.yaml: unknown parameter backbone\.frozen; the nearest is backbone",
        "\nbackbone: 3\n": r"params\.yaml: must hold sections with their parameters",
        "\n- [\n": r"params\.yaml: not valid YAML",
    }.items():
        (tmp_path / "params.yaml").write_text(f"{text}{more}")
        with pytest.raises(InputError, match=said):
            default_text(family)
    (tmp_path / "params.yaml").unlink()
    with pytest.raises(InputError, match=r"params\.yaml: no such file; a family's sections and their defaults stand"):
        default_text(family)


def test_a_preset_that_is_no_overlay_is_one_line(project: Path) -> None:
    for text, said in {
        "- a\n": r"odd\.yaml: must hold sections with their parameters",
        "base: 3\n": r"preset odd: must hold sections with their parameters",
        "family: none_such\n": r"odd\.yaml: no family 'none_such'; there are faster_rcnn, faster_rcnn_joint, .*points",
        "rpn: {channels: 3}\nfamily: points\n": r"unknown parameter rpn\.channels: family points has no section rpn",
    }.items():
        (apply._PRESETS / "odd.yaml").write_text(text)
        with pytest.raises(InputError, match=said):
            apply_preset(project, "odd", [])
    assert not (project / "dvc.yaml").exists()
