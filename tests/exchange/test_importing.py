"""A head trains on proposals from elsewhere, and ours go elsewhere and come back."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.artifacts.proposals import PROPOSALS
from pipeline.artifacts.resized_images import ImageInfo, ResizedImages
from pipeline.artifacts.tables import Columns, boxes_of, read_columns
from pipeline.cli import app
from pipeline.exchange.exporting import export_proposals
from pipeline.exchange.image_names import ImageNames
from pipeline.exchange.importing import read_external_proposals, to_resized
from pipeline.exchange.proposal_files import LAYOUTS, Proposals, read_proposal_file
from pipeline.params.file import load_params
from pipeline.presets.apply import apply_preset
from pipeline.runtime.errors import InputError
from tests.conftest import TINY, Project, new_project
from tests.defaults import copy_graphs
from tests.fidelity.conftest import with_rows
from tests.in_process import run_command, run_stage, run_stages, words_of


@pytest.fixture
def project(tiny_run: Project, tmp_path: Path) -> Project:
    """A project with the inputs that the proposals stage and the head's training need, and a file as the source."""
    overlay = {"proposals": {"source": "file", "post_nms": 50}}
    project = new_project(tmp_path / "project", TINY | overlay)
    for name in ("dataset", "resize", "frozen_features", "backbone", "train_rpn_step1"):
        shutil.copytree(tiny_run.data / name, project.data / name)
    return project


def give(project: Project, content: Any) -> None:
    (project.data / "external_proposals/theirs.pkl").write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_our_proposals_come_back_through_each_layout(
    tiny_run: Project, project: Project, layout: str, tmp_path: Path
) -> None:
    data = tiny_run.data
    out = project.data / "external_proposals/ours.pkl"
    line = export_proposals(data / "proposals_step1", data / "resize", data / "dataset", layout, out)
    assert line.startswith(f"{out}: ") and line.endswith(f" proposals in 12 train images, for {layout}")
    run_stage("proposals_step1", project.root)
    ours = read_columns(data / "proposals_step1/proposals.parquet", PROPOSALS)
    back = read_columns(project.data / "proposals_step1/proposals.parquet", PROPOSALS)
    plain = {name: values[ours["view"] == 0] for name, values in ours.items()}
    plain_back = {name: values[back["view"] == 0] for name, values in back.items()}
    for name in ("image_id", "rank"):
        assert plain[name].tolist() == plain_back[name].tolist()
    np.testing.assert_allclose(plain_back["score"], plain["score"], rtol=2e-5)
    np.testing.assert_allclose(boxes_of(plain_back), boxes_of(plain), atol=1e-3)
    # The mirror's are the plain image's, mirrored: all images of this run have one width.
    (width,) = {image.size[1] for image in ResizedImages(data / "resize", "train")}
    seen_mirrored = {name: values[back["view"] == 1] for name, values in back.items()}
    np.testing.assert_allclose(seen_mirrored["x1"], width - plain_back["x2"], atol=1e-4)
    np.testing.assert_array_equal(seen_mirrored["y1"], plain_back["y1"])


def test_a_head_trains_on_foreign_proposals(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    files = {f"train_{index:05d}": rng.uniform(-20, 200, (30, 4)).astype(np.float32) for index in range(12)}
    content: dict[str, list[Any]] = {"ids": ["elsewhere", *files], "boxes": [np.zeros((0, 4))], "objectness_logits": []}
    for boxes in files.values():
        boxes[:, 2:] = boxes[:, :2] + rng.uniform(1, 120, (30, 2))
        content["boxes"].append(boxes)
    content["objectness_logits"] = [rng.normal(size=len(boxes)) for boxes in content["boxes"]]
    content["boxes"][3], content["objectness_logits"][3] = np.zeros((0, 4)), np.zeros(0)
    give(project, content)
    run_stage("proposals_step1", project.root)
    log = capsys.readouterr().err
    assert "1 image of the proposal file left out: no training image has that name" in log
    assert " of 330 proposals of the file are kept" in log
    rows = read_columns(project.data / "proposals_step1/proposals.parquet", PROPOSALS)
    boxes, sizes = boxes_of(rows), boxes_of(rows)[:, 2:] - boxes_of(rows)[:, :2]
    assert boxes.min() >= 0 and boxes.max() <= 320 and sizes.min() >= 8 * 0.75 - 1e-3
    assert set(rows["image_id"]) == set(files) - {"train_00002"}
    for image_id in set(rows["image_id"]):
        own = rows["score"][(rows["image_id"] == image_id) & (rows["view"] == 0)]
        assert (np.diff(own) <= 0).all()
    run_stages(project.root, "proposal_targets_step2", "train_head_step2")
    assert (project.data / "train_head_step2/model.safetensors").is_file()


def test_dvc_knows_the_file_and_no_path_of_the_machine(project: Project, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere/theirs.pkl"
    outside.parent.mkdir()
    outside.write_bytes(b"first")
    link = project.data / "external_proposals/theirs.pkl"
    link.symlink_to(os.path.relpath(outside, link.parent))
    shutil.copytree(project.data / "resize", project.data / "proposals_step1")
    assert project.run("dvc", "commit", "--force", "proposals_step1").returncode == 0
    assert json.loads(project.run("dvc", "status", "--json", "proposals_step1").stdout) == {}
    lock = (project.root / "dvc.lock").read_text()
    assert "data/external_proposals" in lock and str(tmp_path) not in lock
    outside.write_bytes(b"other")
    status = json.loads(project.run("dvc", "status", "--json", "proposals_step1").stdout)
    assert status["proposals_step1"] == [{"changed deps": {"data/external_proposals": "modified"}}]


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch executed",))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "data/external_proposals: holds 0 files where one proposal file is needed"),
        (Malicious(), "names 'posix.system', which is not a list, dict, string, number"),
        ([np.ones((1, 4))], "holds 1 images without names, there are 12 training images"),
        (
            {"images/train_00000.png": {"bboxes": np.ones((1, 4))}},
            "no proposals for training image 'train_00001' and 10",
        ),
    ],
)
def test_a_file_that_does_not_serve_is_one_line(project: Project, content: Any, expected: str) -> None:
    if content is not None:
        give(project, content)
    ended = run_command(project.root, *words_of(project.root, "proposals_step1"))
    assert ended.returncode == 1 and expected in ended.stderr.rstrip("\n").split("\n")[-1]
    assert not list(project.data.glob("*proposals_step1*"))
    assert not (project.root / "executed").exists()


def test_an_image_that_is_in_the_file_twice_or_two_files(tiny_run: Project, tmp_path: Path) -> None:
    entry = {"bboxes": np.ones((1, 4))}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"images/train_00000.png": entry, "train_00000": entry}))
    with pytest.raises(InputError, match="'train_00000' is in it twice"):
        read_external_proposals(tmp_path, tiny_run.data / "dataset", ["train_00000"])
    (tmp_path / "b.pkl").write_bytes(b"")
    with pytest.raises(InputError, match="holds 2 files where one"):
        read_external_proposals(tmp_path, tiny_run.data / "dataset", ["train_00000"])


def test_names_of_other_codebases_find_our_images() -> None:
    files = {
        "VOC2007_000005": "raw/VOC2007/JPEGImages/000005.jpg",
        "VOC2012_000005": "raw/VOC2012/JPEGImages/000005.jpg",
        "VOC2012_2008_000001": "raw/VOC2012/JPEGImages/2008_000001.jpg",
        "000000000139": "raw/train2017/000000000139.jpg",
        "a": "raw/b.png",
        "b": "raw/c.png",
    }
    names = ImageNames({image_id: PurePosixPath(file) for image_id, file in files.items()})
    assert names.find("VOC2007_000005") == "VOC2007_000005"
    assert names.find("/home/them/VOC2012/JPEGImages/000005.jpg") == "VOC2012_000005"
    assert names.find("JPEGImages/000005.jpg") is None and names.find("000005") is None and names.find("5") is None
    assert names.find("2008_000001") == names.find("JPEGImages/2008_000001.jpg") == "VOC2012_2008_000001"
    assert names.find("139") == names.find("train2017\\000000000139.jpg") == "000000000139"
    assert names.find("b") == "b" and names.find("b.png") == "a"
    assert names.find("nowhere") is None and names.find("") is None


def test_resized_proposals_are_clipped_large_enough_and_the_best() -> None:
    image = ImageInfo("a", (50, 200), (100, 100), (2.0, 0.5), "")
    boxes = np.float32([[-10, 10, 50, 200], [0, 0, 8, 7.9], [0, 0, 8, 8], [95, 0, 130, 50], [0, 0, 9, 9], [5, 9, 5, 9]])
    given = Proposals(boxes, np.float32([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]))
    found = to_resized(given, image, most=2, min_size=8)
    np.testing.assert_array_equal(found.boxes, [[0, 5, 100, 50], [0, 0, 16, 4]])
    np.testing.assert_array_equal(found.scores, np.float32([0.9, 0.7]))
    assert len(to_resized(given, image, most=9, min_size=0).boxes) == 5
    assert to_resized(Proposals(boxes[:0], given.scores[:0]), image, 2, 8).boxes.shape == (0, 4)


def test_the_verb_exports_test_proposals_as_well_and_says_what_is_wrong(
    tiny_run: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_run.root)
    out = tmp_path / "out.pkl"
    verb = ["proposals", "export", str(out)]
    result = CliRunner().invoke(app, [*verb, "--from", "data/detect_joint", "--format", "mmdetection"])
    assert result.exit_code == 0 and "proposals in 6 test images, for mmdetection" in result.output
    content = read_proposal_file(out)
    assert content.names == [f"images/test_{index:05d}.png" for index in range(6)]
    assert CliRunner().invoke(app, verb).exit_code == 0
    assert read_proposal_file(out).names == [f"train_{index:05d}" for index in range(12)]
    for wrong, expected in (
        (["--format", "yolo"], "no format 'yolo'; there are detectron2, mmdetection, mmdetection2"),
        (["--from", "data/nothing"], "data/nothing/proposals.parquet: no such table"),
        (["--split", "dev"], "no split 'dev'; there are train, val, test"),
        (["--split", "test"], "holds no proposals of test images; those of train are in the folders of"),
        (["--split", "val"], "holds no proposals of val images"),
        (["--resize", "data/nothing"], "data/nothing/images.parquet: no such table"),
    ):
        error = CliRunner().invoke(app, [*verb, *wrong]).exception
        assert isinstance(error, InputError) and expected in str(error)
    error = CliRunner().invoke(app, ["proposals", "export", str(tmp_path / "no/out.pkl")]).exception
    assert isinstance(error, InputError) and "name a file in a folder that exists" in str(error)


def test_the_verb_exports_the_split_that_is_asked_for(
    tiny_run: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny run with its last two test images turned into val images: detect stages take both alike."""
    val = {"test_00004", "test_00005"}

    def turn(rows: Columns) -> None:
        rows["split"] = np.array(
            ["val" if name in val else split for name, split in zip(rows["image_id"], rows["split"], strict=True)]
        )

    resize = with_rows(tiny_run.data / "resize", tmp_path / "resize", "images.parquet", turn)
    monkeypatch.chdir(tiny_run.root)
    out = tmp_path / "out.pkl"
    verb = ["proposals", "export", str(out), "--from", "data/detect_joint", "--resize", str(resize)]
    for options, split, count in (([], "test", 4), (["--split", "test"], "test", 4), (["--split", "val"], "val", 2)):
        result = CliRunner().invoke(app, [*verb, *options])
        assert result.exit_code == 0 and f"proposals in {count} {split} images, for detectron2" in result.output
        assert (set(read_proposal_file(out).names) == val) == (split == "val")


def test_the_preset_verb_links_a_proposal_file(tmp_path: Path) -> None:
    copy_graphs(tmp_path)
    (tmp_path / "data").mkdir()
    theirs = tmp_path / "elsewhere.pkl"
    theirs.write_bytes(b"")
    apply_preset(tmp_path, "default", [f"proposals.file={theirs}"])
    assert (tmp_path / "data/external_proposals/elsewhere.pkl").resolve() == theirs.resolve()
    assert load_params(tmp_path / "params.yaml").proposals.source == "file"
    assert str(tmp_path) not in (tmp_path / "params.yaml").read_text()
    with pytest.raises(InputError, match=r"proposals.file=no.pkl: no such file; give a proposal file"):
        apply_preset(tmp_path, "default", ["proposals.file=no.pkl"])
    apply_preset(tmp_path, "default", [])
    assert load_params(tmp_path / "params.yaml").proposals.source == "rpn"
    assert not list((tmp_path / "data/external_proposals").iterdir())
