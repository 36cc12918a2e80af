"""`frcnn preset`: overlays on the defaults, links to data and weights, one-line errors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import load_yaml
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.params.file import load_params
from pipeline.presets.apply import apply_preset, preset_names
from pipeline.runtime.errors import InputError
from tests.conftest import ROOT
from tests.defaults import DEFAULT_TEXT
from tests.faults.trees import plant


def test_default_restores_the_committed_text_to_the_letter(project: Path) -> None:
    apply_preset(project, "voc6_vgg16", [])
    assert (project / "params.yaml").read_text() != DEFAULT_TEXT
    apply_preset(project, "default", [])
    for name in ("dvc.yaml", "params.yaml"):
        assert (project / name).read_bytes() == (ROOT / name).read_bytes(), "run frcnn preset default"


def test_a_preset_is_never_laid_on_top_of_another_and_keeps_comments(project: Path) -> None:
    apply_preset(project, "voc07_vgg16", ["base.seed=7"])
    apply_preset(project, "voc6_vgg16", [])
    text = (project / "params.yaml").read_text()
    first = yaml.safe_load(text)
    assert first["base"]["seed"] == 0 and first["roi_head"]["hidden"] == 1024
    assert "# height over width" in text


def test_a_training_shortened_below_its_warm_up_or_drops_is_remarked_on(project: Path) -> None:
    assert not any(line.startswith("note: ") for line in apply_preset(project, "default", []))
    lines = apply_preset(project, "default", ["solver.lr_decay=drops", "train_rpn_step1.iterations=40"])
    notes = [line for line in lines if line.startswith("note: ")]
    assert [line.split(", so")[0] for line in notes] == [
        "note: train_rpn_step1: warmup_iterations 100 is more than iterations 40",
        "note: train_rpn_step1: lr_drop_at [600] is not below iterations 40",
    ]


def test_shorter_values_leave_nothing_of_the_defaults_behind(project: Path) -> None:
    apply_preset(project, "default", ["anchors.ratios=[1.0]", "anchors.scales=[1.0]"])
    params = load_params(project / "params.yaml")
    assert params.anchors.ratios == [1.0] and params.anchors.scales == [1.0]


def test_data_and_weights_are_linked_and_no_absolute_path_enters_the_parameters(project: Path) -> None:
    plant("voc", project.parent / "tree")
    weights = project.parent / "vgg16.pth"
    weights.write_bytes(b"")
    detector = project.parent / "model.safetensors"
    detector.write_bytes(b"")
    linked = {"dataset.root": project.parent / "tree", "backbone.weights": weights, "init.detector": detector}
    overrides = [f"{key}={path}" for key, path in linked.items()]
    apply_preset(project, "voc6_vgg16", overrides)
    assert (project / "data/raw").resolve() == (project.parent / "tree").resolve()
    assert (project / "data/weights/vgg16.pth").resolve() == weights.resolve()
    assert (project / "data/initial_detector/model.safetensors").resolve() == detector.resolve()
    assert load_params(project / "params.yaml").init.detector == "file"
    assert str(project.parent) not in (project / "params.yaml").read_text()
    apply_preset(project, "default", [])
    assert not (project / "data/raw").is_symlink() and not list((project / "data/weights").iterdir())


def test_a_bundle_may_be_the_initial_detector(project: Path) -> None:
    (project.parent / "bundle").mkdir()
    weights = project.parent / "bundle/model.safetensors"
    with pytest.raises(InputError, match=r"no such file; give a bundle, the model\.safetensors"):
        apply_preset(project, "default", [f"init.detector={weights.parent}"])
    weights.write_bytes(b"")
    apply_preset(project, "default", [f"init.detector={weights.parent}"])
    assert (project / "data/initial_detector/model.safetensors").resolve() == weights.resolve()
    assert load_params(project / "params.yaml").init.detector == "file"


@pytest.mark.parametrize(
    ("name", "override", "expected"),
    [
        (
            "voc5",
            None,
            f"no preset 'voc5'; there are {', '.join(preset_names())}",
        ),
        ("voc_vgg16", None, "no preset 'voc_vgg16'; the nearest is voc6_vgg16; there are bccd_tiny, "),
        ("default", "base.sead=1", "unknown parameter base.sead; the nearest is base.seed; docs/parameters.md"),
        ("default", "seed=1", "unknown parameter seed"),
        (
            "default",
            "train_rpn_step1.iteration=5",
            "unknown parameter train_rpn_step1.iteration; the nearest is train_rpn_step1.iterations; docs/",
        ),
        ("default", "roi_heads.hidden=5", "has no section roi_heads; the nearest is roi_head.hidden; see params.yaml"),
        ("default", "base.seed", "write section.key=value"),
        ("default", "base.seed=-1", "parameter base.seed: input should be greater than or equal to 0, got -1"),
        ("default", "base.seed=x", "parameter base.seed: input should be a valid integer, got 'x'"),
        ("default", "rpn.fg_fraction=[", "not valid YAML"),
        ("default", "dataset.root=nowhere", "dataset.root=nowhere: no such folder"),
        ("default", "backbone.weights=no.pth", "backbone.weights=no.pth: no such file"),
        ("default", "init.detector=no.safetensors", "init.detector=no.safetensors: no such file"),
    ],
)
def test_a_bad_preset_or_override_is_one_line_and_changes_nothing(
    project: Path, name: str, override: str | None, expected: str
) -> None:
    with pytest.raises(InputError, match=r".+") as error:
        apply_preset(project, name, [override] if override else [])
    assert expected in str(error.value) and "\n" not in str(error.value)
    assert (project / "params.yaml").read_text() == "nothing: of this survives\n"


def test_a_folder_of_the_users_own_is_never_removed(project: Path) -> None:
    (project / "data/raw").mkdir()
    (project / "data/raw/photo.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="holds files of its own"):
        apply_preset(project, "default", [])
    assert (project / "data/raw/photo.jpg").exists()


def test_the_command_line_offers_the_verbs() -> None:
    text = CliRunner().invoke(app, ["--help"]).output
    assert all(verb in text for verb in ("preset", "results", "status"))


def test_what_a_preset_writes_is_what_a_run_and_dvc_read(project: Path) -> None:
    apply_preset(project, "default", ["train_head_step4.lr=1e-3", "dataset.table.classes=[yes, NO, '12:30', '017']"])
    params = load_params(project / "params.yaml")
    assert params.train_head_step4.lr == 1e-3
    assert params.dataset.table.classes == ["yes", "NO", "12:30", "017"]
    seen = load_yaml(project / "params.yaml")
    assert seen["train_head_step4"]["lr"] == 1e-3
    assert seen["dataset"]["table"]["classes"] == params.dataset.table.classes


@pytest.mark.parametrize("value", ["[1, 2]", "[2019-01-01]", "[true]"])
def test_names_that_yaml_takes_for_something_else_are_to_be_quoted(project: Path, value: str) -> None:
    with pytest.raises(InputError, match=r"dataset\.table\.classes\.0: .*put it in quotes"):
        apply_preset(project, "default", [f"dataset.table.classes={value}"])


def linked(project: Path) -> str:
    return str((project / "data/raw").resolve())


def test_a_data_root_that_dvc_does_not_hash_whole_is_refused_before_anything_is_written(project: Path) -> None:
    root = project.parent / "tree"
    (root / "photos").mkdir(parents=True)
    (root / "JPEGImages").symlink_to("photos")
    with pytest.raises(InputError, match=r"tree: JPEGImages \(-> photos\) is a link to a folder, .* cp -al "):
        apply_preset(project, "default", [f"dataset.root={root}"])
    assert (project / "params.yaml").read_text() == "nothing: of this survives\n"
    assert not (project / "data/raw").exists()
    (root / "JPEGImages").unlink()
    (project.parent / "one").symlink_to("tree")
    (project.parent / "two").symlink_to("one")
    apply_preset(project, "default", [f"dataset.root={project.parent / 'two'}", "dataset.reader=shapes"])
    assert linked(project) == str(root)
    apply_preset(project, "default", ["dataset.root=data/raw", "dataset.reader=shapes"])
    assert linked(project) == str(root)


@pytest.mark.parametrize("value", [".", "data", "..", "/", "data/raw"])
def test_a_data_root_is_never_linked_into_itself(project: Path, value: str) -> None:
    (project / "data/raw").mkdir()
    with pytest.raises(InputError, match="would be linked into itself"):
        apply_preset(project, "default", [f"dataset.root={value}"])
    assert (project / "data/raw").is_dir() and not (project / "data/raw").is_symlink()


def test_links_are_right_where_data_is_a_link_within_the_project(project: Path) -> None:
    (project / "data").rmdir()
    (project / "store/deep/data").mkdir(parents=True)
    (project / "data").symlink_to("store/deep/data")
    (project.parent / "tree").mkdir()
    weights = project.parent / "vgg16.pth"
    weights.write_bytes(b"")
    links = [f"dataset.root={project.parent / 'tree'}", f"backbone.weights={weights}"]
    apply_preset(project, "default", [*links, "dataset.reader=shapes"])
    assert linked(project) == str(project.parent / "tree")
    assert (project / "data/weights/vgg16.pth").resolve() == weights


@pytest.mark.parametrize("there", [True, False])
def test_data_on_another_disk_is_refused_with_the_remedy(project: Path, there: bool) -> None:
    disk = project.parent / "disk/data"
    (project / "data").rmdir()
    (project / "data").symlink_to(disk)
    if there:
        disk.mkdir(parents=True)
    with pytest.raises(InputError, match=r"data: leads to .*disk/data, outside of the project, where DVC stores"):
        apply_preset(project, "default", [])
    assert (project / "params.yaml").read_text() == "nothing: of this survives\n"


def test_data_that_is_no_folder_is_told(project: Path) -> None:
    (project / "data").rmdir()
    (project / "data").touch()
    with pytest.raises(InputError, match="data: is not a folder"):
        apply_preset(project, "default", [])


@pytest.mark.parametrize("value", ["loop", "x" * 300, "~nobody-of-this-name/x", "pipe"])
@pytest.mark.parametrize("key", ["dataset.root", "backbone.weights"])
def test_a_path_that_leads_nowhere_is_one_line(project: Path, key: str, value: str) -> None:
    (project / "loop").symlink_to("loop")
    os.mkfifo(project / "pipe")
    with pytest.raises(InputError, match=r"no such (folder|file); give"):
        apply_preset(project, "default", [f"{key}={value}"])


def test_weights_whose_name_is_no_utf8_are_refused(project: Path) -> None:
    weights = project / os.fsdecode(b"\xff.pth")
    weights.touch()
    with pytest.raises(InputError, match=r"DVC stops at a name that is not UTF-8 text; rename the file"):
        apply_preset(project, "default", [f"backbone.weights={weights}"])


def test_a_key_of_an_earlier_version_sets_what_it_is_called_now(project: Path) -> None:
    apply_preset(project, "default", ["backbone.frozen_blocks=1", "features.keep_frozen_blocks=true"])
    params = load_params(project / "params.yaml")
    assert (params.backbone.frozen_stages, params.features.keep_frozen_stages) == (1, True)


def test_a_value_in_the_place_of_a_block_is_refused_with_the_blocks_keys(project: Path) -> None:
    with pytest.raises(InputError, match=r"backbone\.neck is a block; give one of backbone\.neck\.name, "):
        apply_preset(project, "default", ["backbone.neck=fpn"])


def test_a_block_may_be_given_in_part_and_a_mapping_whole(project: Path) -> None:
    apply_preset(project, "kitti_tiny_vgg16", ["dataset.split={val: .1, test: .2}", "dataset.kitti.merge={Tram: Car}"])
    written = load_params(project / "params.yaml").dataset
    assert written.split.shares == {"val": 0.1, "test": 0.2} and written.split.near
    assert written.kitti.merge == {"Tram": "Car"}
    with pytest.raises(
        InputError, match=r"unknown parameter dataset\.split\.tests; the nearest is dataset\.split\.test; docs"
    ):
        apply_preset(project, "default", ["dataset.split={tests: .2}"])
