"""`frcnn check-data` from the command line: what it says, its status, its picture, and its faults in one line."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.params.file import load_params
from pipeline.preflight.command import check_data
from pipeline.presets.apply import apply_preset
from pipeline.presets.settings import leaves
from pipeline.runtime.errors import InputError
from tests.conftest import ROOT, apply_overlay
from tests.defaults import copy_graphs, default_content
from tests.faults.trees import plant
from tests.in_process import run_frcnn

VOC = {"dataset": {"reader": "voc", "voc": {"train": ["train"], "test": ["test"]}}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with params.yaml for VOC and a sound data set at data/raw."""
    monkeypatch.chdir(tmp_path)
    set_params(tmp_path, VOC)
    plant("voc", tmp_path / "data/raw")
    return tmp_path


def set_params(folder: Path, overlay: dict[str, object]) -> None:
    params = default_content()
    batches = {name: {"images_per_iteration": 2} for name in params if "images_per_iteration" in params[name]}
    (folder / "params.yaml").write_text(yaml.safe_dump(apply_overlay(apply_overlay(params, batches), overlay)))


def report(*arguments: Path | str | None, settings: Sequence[str] = (), decode: bool = True) -> tuple[bool, str]:
    data, preset, out = (*arguments, None, None, None)[:3]
    lines: list[str] = []
    place, name = Path(data) if data else None, str(preset) if preset else None
    passed = check_data(place, name, Path(out or "data-check.png"), lines.append, settings, decode)
    return passed, "\n".join(lines)


def test_a_sound_data_set_ends_well_without_torch_and_leaves_a_picture(folder: Path) -> None:
    code = "import sys, atexit; atexit.register(lambda: print('torch' in sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}; from pipeline.cli import main; main()", "check-data"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "data/raw: reader voc, parameters of params.yaml"
    assert lines[-2:] == ["nothing here would stop a run", "False"]
    assert cv2.imread(str(folder / "data-check.png")).shape[1] > 800


def test_findings_that_would_stop_a_run_are_all_told_and_end_in_status_1(folder: Path) -> None:
    set_params(folder, {"dataset": {**VOC["dataset"], "findings": {"zero_area": "error"}}})
    path = folder / "data/raw/Annotations/a.xml"
    path.write_text(path.read_text().replace("<xmax>30</xmax>", "<xmax>11</xmax>"))
    (folder / "data/raw/JPEGImages/b.jpg").unlink()
    result = run_frcnn(folder, "check-data")
    assert result.returncode == 1 and result.stderr == ""
    assert "  1 zero_area (error: would stop the run)" in result.stdout
    assert "    Annotations/a.xml, object 0: xmin, ymin, xmax, ymax = 11, 21, 11, 40" in result.stdout
    assert "no test images" in result.stdout and "train has no box to learn from" in result.stdout
    last = result.stdout.splitlines()[-1]
    assert last.startswith(
        "4 findings would stop the run: the data set has no test images left: 1 annotation_without_image dropped "
        "(no such image); correct them, or see dataset.findings.annotation_without_image; "
    )
    assert "data/raw: train has no box left: 1 zero_area dropped" in last
    assert "dataset.findings.zero_area to drop" in last and "annotation_without_image to drop" in last


def test_a_data_set_without_an_image_has_a_picture_all_the_same(folder: Path) -> None:
    for photo in (folder / "data/raw/JPEGImages").iterdir():
        photo.unlink()
    passed, text = report()  # a warning of the plotting library would end it
    assert not passed and "no train images" in text and "no test images" in text
    assert (folder / "data-check.png").is_file()


def test_an_inverted_box_is_told_with_its_own_actions(folder: Path) -> None:
    set_params(folder, {"dataset": {**VOC["dataset"], "findings": {"inverted": "error"}}})
    path = folder / "data/raw/Annotations/a.xml"
    path.write_text(path.read_text().replace("<xmax>30</xmax>", "<xmax>5</xmax>"))
    passed, text = report()
    assert not passed
    assert text.endswith(
        "1 finding would stop the run: correct the data or set dataset.findings.inverted to fix or drop"
    )


def test_classes_that_are_absent_from_a_split_are_named(folder: Path) -> None:
    path = folder / "data/raw/Annotations/b.xml"
    path.write_text(path.read_text().replace("dog", "cat"))
    passed, text = report()
    assert passed
    assert "without a box in train, so cannot be learnt: 1 of 2 classes (cat)" in text
    assert "without a box in test, so cannot be judged: 1 of 2 classes (dog)" in text


def test_a_preset_is_taken_without_being_written(folder: Path) -> None:
    before = (folder / "params.yaml").read_bytes()
    root = plant("voc", folder / "other")
    (root / "ImageSets/Main/val.txt").write_text("c")
    shutil.copy(root / "Annotations/a.xml", root / "Annotations/c.xml")
    shutil.copy(root / "JPEGImages/a.jpg", root / "JPEGImages/c.jpg")
    _, text = report(root, "bccd_tiny", "picture.png")
    assert f"{root}: reader voc, parameters of preset bccd_tiny" in text
    assert (folder / "params.yaml").read_bytes() == before
    assert (folder / "picture.png").is_file() and not (folder / "data-check.png").exists()


def test_the_proposed_line_keeps_every_setting_and_can_be_pasted(folder: Path) -> None:
    elsewhere = folder / "it's mine"
    shutil.move(folder / "data/raw", elsewhere)
    (folder / "data/raw").symlink_to(elsewhere)
    own = {"voc": {**VOC["dataset"]["voc"], "classes": ["dog", "yes", "0"]}, "kitti": {"merge": {"no": "a b"}}}
    anchors = {"anchors": {"ratios": [9.0], "scales": [0.1]}, "solver": {"weight_decay": 1e-05}}
    set_params(folder, {**anchors, "dataset": {**VOC["dataset"], **own}})
    before = leaves(load_params(folder / "params.yaml"))
    _, text = report(elsewhere, settings=["rpn.channels=64"])
    (line,) = [line for line in text.splitlines() if line.strip().startswith("frcnn preset ")]
    words = shlex.split(line)
    copy_graphs(folder)
    apply_preset(folder, words[2], words[3:])
    after = leaves(load_params(folder / "params.yaml"))
    ratios, scales = after.pop("anchors.ratios"), after.pop("anchors.scales")
    assert len(ratios) == len(scales) == 1 and ratios[0] < 2 and scales[0] > 0.5  # of boxes of 51 x 64 px
    kept = {key: value for key, value in before.items() if key in after}
    assert after == {**kept, "rpn.channels": 64}
    assert (folder / "data/raw").resolve() == elsewhere


def test_no_line_is_offered_that_frcnn_preset_would_refuse(folder: Path) -> None:
    set_params(folder, {**VOC, "anchors": {"ratios": [9.0], "scales": [0.1]}})
    _, text = report()
    assert "frcnn preset" not in text and "in params.yaml, anchors.ratios: [" in text


def test_settings_are_tried_without_being_written(folder: Path) -> None:
    before = (folder / "params.yaml").read_bytes()
    _, text = report(settings=["resize.shorter_side=300", "anchors.scales=[2.0]"])
    assert "(shorter side 300," in text and "anchors: 3 a location" in text
    assert text.startswith("data/raw: reader voc, parameters of params.yaml, resize.shorter_side=300, anchors.scales=")
    assert (folder / "params.yaml").read_bytes() == before
    with pytest.raises(InputError, match=r"unknown parameter resize\.side"):
        report(settings=["resize.side=3"])


def test_all_that_cannot_be_read_is_told_at_once(folder: Path) -> None:
    root = folder / "data/raw"
    sound = (root / "Annotations/a.xml").read_text()
    (root / "ImageSets/Main/train.txt").write_text("a\nc\nd\ne\nf\n")
    for name in "cdef":
        shutil.copy(root / "JPEGImages/a.jpg", root / f"JPEGImages/{name}.jpg")
        (root / f"Annotations/{name}.xml").write_text(sound.replace("<name>dog</name>", ""))
    (root / "Annotations/b.xml").write_text("<annotation>")
    passed, text = report()
    assert not passed
    assert text.count("no <name> in <object>; add the tag") == 3 and "and 1 more of this kind" in text
    assert "Annotations/b.xml: malformed XML" in text
    assert text.endswith("5 findings would stop the run: fix what cannot be read")


def test_what_a_later_stage_would_refuse_is_told(folder: Path) -> None:
    passed, text = report(settings=["train_head_step2.images_per_iteration=4", "evaluate.split=val"])
    assert passed and text.endswith("a later stage would stop: see above")
    assert "  2 training images are fewer than train_head_step2.images_per_iteration 4; lower it" in text
    assert "  evaluate.split is val, and the data set has no val images; change either" in text


def test_a_picture_of_a_data_set_without_an_image_is_drawn_without_a_warning(folder: Path) -> None:
    for path in (folder / "data/raw/Annotations").iterdir():
        path.write_text("<annotation>")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        passed, text = report()
    assert not passed and text.endswith("2 findings would stop the run: fix what cannot be read")


SMALL = ["resize.shorter_side=16", "resize.longer_side=16"]


@pytest.mark.parametrize("without", ["drop", "background"])
def test_a_data_set_that_leaves_the_rpn_no_anchor_does_not_pass(folder: Path, without: str) -> None:
    passed, text = report(settings=[*SMALL, f"rpn.images_without_gt={without}"])
    assert not passed and text.endswith("a later stage would stop: see above")
    assert "  no training image has an anchor that may be used; resize to larger images, lower" in text
    assert report(settings=[*SMALL, "anchor_targets.allowed_border=null"])[0]


@pytest.mark.parametrize("without", ["drop", "background"])
def test_an_anchor_in_an_image_that_the_rpn_leaves_out_is_none(folder: Path, without: str) -> None:
    root = folder / "data/raw"
    (root / "ImageSets/Main/train.txt").write_text("a\nc\n")
    cv2.imwrite(str(root / "JPEGImages/c.jpg"), np.zeros((80, 80, 3), np.uint8))
    cv2.imwrite(str(root / "JPEGImages/a.jpg"), np.zeros((80, 1000, 3), np.uint8))
    sound = (root / "Annotations/a.xml").read_text()
    (root / "Annotations/a.xml").write_text(sound.replace("<width>100<", "<width>1000<"))
    (root / "Annotations/c.xml").write_text(
        "<annotation><size><width>80</width><height>80</height></size></annotation>"
    )
    sizes = ["resize.shorter_side=80", "resize.longer_side=80", "anchors.scales=[4.0]", "anchors.ratios=[1.0]"]
    passed, text = report(settings=[*sizes, f"rpn.images_without_gt={without}"])
    assert passed == (without == "background"), text
    assert "no anchor may be used in 1 of 2 train images" in text


def test_boxes_too_small_for_any_anchor_ask_for_a_size_at_which_they_are_not(folder: Path) -> None:
    path = folder / "data/raw/Annotations/a.xml"
    small = path.read_text().replace("<xmax>30<", "<xmax>13<").replace("<ymax>40<", "<ymax>23<")
    path.write_text(small)
    _, text = report(settings=["anchors.ratios=[1.0]", "anchors.scales=[2.0]", "resize.shorter_side=80"])
    found = re.search(r"raise resize.shorter_side to ([0-9]+) and resize.longer_side to ([0-9]+)", text)
    assert found, text
    _, larger = report(
        settings=[
            "anchors.ratios=[1.0]",
            "anchors.scales=[2.0]",
            f"resize.shorter_side={found[1]}",
            f"resize.longer_side={found[2]}",
        ]
    )
    assert "raise resize" not in larger


def test_equal_data_give_equal_words_and_an_equal_picture(folder: Path) -> None:
    first = report(), (folder / "data-check.png").read_bytes()
    assert (report(), (folder / "data-check.png").read_bytes()) == first


@pytest.mark.parametrize("rows", [0, 1, 40])
def test_any_number_of_classes_is_told_and_drawn(folder: Path, rows: int) -> None:
    names = [f"class number {index} of many" for index in range(rows)] or ["none"]
    lines = [f"a.png,train,{name},1,2,{30 + index},40\n" for index, name in enumerate(names)] * (rows > 0)
    ends = ["a.png,train,,,,,\n"] * (rows == 0) + [f"b.png,test,{names[0]},1,2,30,40\n"]
    (folder / "data/raw/boxes.csv").write_text("file,split,class,x1,y1,x2,y2\n" + "".join(lines + ends))
    for name in "ab":
        cv2.imwrite(str(folder / f"data/raw/{name}.png"), np.full((80, 100, 3), ord(name), np.uint8))
    set_params(folder, {"dataset": {"reader": "table"}})
    passed, text = report()
    assert passed == (rows > 0) and ("10 more classes" in text) == (rows == 40)
    assert ("train has no box to learn from" in text) == (rows == 0)


def test_shapes_as_reader_is_one_line_that_says_what_the_folder_looks_like(folder: Path) -> None:
    set_params(folder, {})
    result = run_frcnn(folder, "check-data")
    assert result.returncode == 1 and result.stdout == "" and result.stderr.count("\n") == 1
    assert "dataset.reader is shapes" in result.stderr
    assert "then frcnn check-data; or frcnn check-data data/raw --preset voc6_vgg16\n" in result.stderr
    assert not (folder / "data-check.png").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["empty"], "empty: no data set is linked (the folder is empty)"),
        (
            ["kitti"],
            "kitti looks made for reader kitti (KITTI with lists of images): frcnn preset default dataset.reader=kitti",
        ),
        (["data/raw", "--preset", "voc5"], "no preset 'voc5'; there are bccd_tiny, "),
        (["nowhere", "--preset", "default"], "nowhere: no such folder"),
        (["--out", "missing/picture.png"], "--out missing/picture.png: give a file name that ends in .png"),
        (["--out", "picture.txt"], "--out picture.txt: give a file name that ends in .png"),
        (["--out", "taken.png"], "--out taken.png: give a file name that ends in .png"),
    ],
)
def test_what_cannot_be_used_is_one_line(folder: Path, arguments: list[str], expected: str) -> None:
    (folder / "empty").mkdir()
    (folder / "taken.png").mkdir()
    plant("kitti", folder / "kitti")
    error = CliRunner().invoke(app, ["check-data", *arguments]).exception
    assert isinstance(error, InputError)
    assert expected in str(error) and "\n" not in str(error)


def test_a_place_that_cannot_be_written_is_one_line(folder: Path) -> None:
    (folder / ".locked.png.partial").mkdir()
    with pytest.raises(InputError, match=r"--out locked\.png: cannot be written"):
        report(None, None, "locked.png")
