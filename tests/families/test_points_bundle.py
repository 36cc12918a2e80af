"""The made-up family's network as a bundle: what it finds, how it is judged, and its ONNX graph."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from pydantic import create_model
from safetensors.torch import load_file
from typer.testing import CliRunner

from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.tables import boxes_of
from pipeline.bundle.contract import family_bundle
from pipeline.bundle.detector import Detector
from pipeline.bundle.file import Bundle, read_bundle
from pipeline.bundle.writing import write_bundle
from pipeline.cli import app
from pipeline.dense.export import FORMATS
from pipeline.export.files import export_bundle
from pipeline.params.anchors import AnchorParams
from pipeline.runtime.errors import InputError
from tests.conftest import made_once
from tests.families.points_project import visible
from tests.families.test_points_graph import run_graph
from tests.in_process import run_stage
from tests.parity.comparison import Differences, differences


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The whole graph, run once. Do not change it."""
    with visible():
        yield made_once(tmp_path_factory, "points_run", run_graph)


@pytest.fixture(scope="module")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one network of the family, which need not be named."""
    folder = tmp_path_factory.mktemp("bundle") / "points"
    (line,) = write_bundle(run, None, folder)
    assert line.startswith(f"{folder}: the points network, {len(Detector.load(folder, 'cpu').classes) - 1} classes")
    return folder


def test_the_bundle_names_its_family_and_the_sections_that_detection_reads(run: Path, bundle: Path) -> None:
    content, params = (yaml.safe_load(path.read_text()) for path in (bundle / "bundle.json", run / "params.yaml"))
    assert (content["family"], content["network"]) == ("points", "points")
    assert list(content["params"]) == ["base", "backbone", "resize", "points", "detect_points"]
    assert content["params"]["detect_points"] == params["detect_points"]
    assert (bundle / "model.safetensors").read_bytes() == (run / "data/train_points/model.safetensors").read_bytes()


def test_the_stages_rows_are_found_bit_for_bit(run: Path, bundle: Path) -> None:
    detector, total = Detector.load(bundle, "cpu"), 0
    stage = ImageRows(run / "data/detect_points/detections.parquet", DETECTIONS)
    for path in sorted((run / "data/dataset").rglob("test_*.*")):
        found, rows = detector(path), stage[path.stem, False]
        assert np.array_equal(found.boxes, boxes_of(rows)) and np.array_equal(found.scores, rows["score"])
        assert np.array_equal(found.labels, rows["label"])
        total += len(found)
    assert total > 100


def test_it_is_judged_as_by_its_stage_but_for_the_familys_own_figures(
    run: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run)
    options = ["--data", "data/dataset", "--device", "cpu", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, ["evaluate", str(bundle), *options])
    assert result.exit_code == 0, result.output
    expected = json.loads((run / "data/evaluate_points/metrics.json").read_text())
    del expected["centre_error"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == expected and expected["detections"] > 100


def test_it_predicts_in_photos(run: Path, bundle: Path, tmp_path: Path) -> None:
    photo = min((run / "data/dataset").rglob("test_*.*"))
    options = ["--out", str(tmp_path), "--score", "0", "--device", "cpu"]
    result = CliRunner().invoke(app, ["predict", str(bundle), str(photo), *options])
    assert result.exit_code == 0, result.output
    count = len(json.loads((tmp_path / "detections.json").read_text())["annotations"])
    assert count == len(Detector.load(bundle, "cpu")(photo)) > 0 and len(list((tmp_path / "drawn").iterdir())) == 1


def test_what_training_read_must_be_as_it_was_and_what_detection_alone_reads_need_not(
    run: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "data").symlink_to(run / "data")
    params = yaml.safe_load((run / "params.yaml").read_text())
    recorded = {name: dict(params[name]) for name in ("backbone", "points", "train_points")}
    stages = {"train_points": {"params": {"params.yaml": recorded}}}
    (project / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    params["detect_points"]["nms_iou"] = 0.25
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    write_bundle(project, None, tmp_path / "bundle")
    assert read_bundle(tmp_path / "bundle").settings.params.detect_points.nms_iou == 0.25
    params["points"]["radius"] = 2.5
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(InputError, match=r"points.radius is 2.5, data/train_points was made with 1.5; run dvc repro"):
        write_bundle(project, None, tmp_path / "other")


def test_a_training_may_start_from_it(
    run: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "initial_detector"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(bundle / "model.safetensors")
    out = run_stage("backbone", run, tmp_path / "out", {"init": {"detector": "file"}}, detector=folder)
    taken, trained = load_file(out / "model.safetensors"), load_file(bundle / "model.safetensors")
    assert taken.keys() == trained.keys()
    assert all(torch.equal(value, trained[name]) for name, value in taken.items())
    assert "trunk and head of the detector model.safetensors; all other" in capsys.readouterr().err


@pytest.fixture(scope="module")
def graph(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "net.onnx"
    assert export_bundle(bundle, "onnx", out)[0].startswith(f"{out}: the points network for ONNX")
    return out


def compared(bundle: Bundle, session: onnxruntime.InferenceSession, pixels: np.ndarray) -> Differences:
    """(H, W, 3) uint8 pixels of the resized image through both, in float32."""
    network = family_bundle("points").network(bundle.parts, bundle.settings.params)
    (ours,) = network(torch.from_numpy(pixels)[None].permute(0, 3, 1, 2), [pixels.shape[:2]], [(1.0, 1.0)])
    feeds = {"image": pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255}
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, map(torch.from_numpy, session.run(None, feeds)), strict=True))
    assert list(found) == ["boxes", "labels", "scores"] and (found["scores"].diff() <= 0).all()
    return differences(ours, found)


SIZES = [(160, 192), (96, 131), (149, 96), (200, 333), (40, 150), (3, 120), (120, 3), (1, 1)]
"""Height, width; some are thinner than a stride."""


def compared_in_all_sizes(bundle: Bundle, graph: Path) -> Differences:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # threads of two tests at once would wait for each other
    options.log_severity_level = 3  # it warns that `scale` may be fed
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    draw, total = np.random.default_rng(0), Differences()
    for size in SIZES:
        total.add(compared(bundle, session, draw.integers(0, 256, (*size, 3), dtype=np.uint8)))
    print(f"{total.pairs} pairs, scores to {total.score:.1e}, boxes to {total.box:.1e} px")
    return total


@pytest.mark.long  # a quarter of a minute to trace; families/fcos/test_graph.py has a shorter one
def test_the_onnx_graph_detects_the_same_in_images_of_many_sizes(bundle: Path, graph: Path) -> None:
    total = compared_in_all_sizes(read_bundle(bundle), graph)
    assert not total.unpaired and total.pairs > 300


@pytest.mark.long
def test_so_does_that_of_a_trunk_that_rounds_up(bundle: Path, tmp_path: Path) -> None:
    own = read_bundle(bundle)
    params = own.settings.params
    params = params.model_copy(update={"backbone": params.backbone.model_copy(update={"ceil_pool": True})})
    parts = family_bundle("points").new_parts(params, len(own.settings.classes))
    for name, part in parts.items():
        part.load_state_dict(own.parts[name].state_dict())
        part.eval()
    other = Bundle(own.folder, own.settings.model_copy(update={"params": params}), parts)
    FORMATS["onnx"].write(other, tmp_path / "net.onnx")
    total = compared_in_all_sizes(other, tmp_path / "net.onnx")
    assert not total.unpaired and total.pairs > 300


@pytest.mark.long
def test_the_onnx_file_tells_classes_resizing_and_its_bundle(bundle: Path, graph: Path) -> None:
    props = {own.key: own.value for own in onnx.load(graph).metadata_props}
    settings = json.loads((bundle / "bundle.json").read_text())
    assert (props["family"], props["network"]) == ("points", "points") and "min_size" not in props
    assert json.loads(props["classes"]) == settings["classes"]
    assert json.loads(props["resize"]) == settings["params"]["resize"]
    assert (props["model_sha256"], props["bundle_sha256"]) == (settings["model_sha256"], settings["settings_sha256"])


def test_a_format_that_the_family_lacks_is_told_with_those_it_has(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        export_bundle(bundle, "torchvision", tmp_path / "net.safetensors")
    assert str(caught.value) == "--format torchvision: Points has no such format; it has onnx"


def test_a_network_that_cannot_be_traced_is_told_in_one_line(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise torch.onnx.OnnxExporterError("it failed\nat length") from ValueError("Could not guard on u0 > 3\n...")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(InputError, match=r"cannot be traced for --format onnx \(Could not guard on u0 > 3\); ") as told:
        export_bundle(bundle, "onnx", tmp_path / "net.onnx")
    assert "\n" not in str(told.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["bundle", "export"])
def test_a_family_without_the_part_is_told_in_one_line(
    run: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(f"pipeline.{part}.contract.declared", lambda *_: None)
    expected = {
        "bundle": r"^Points: its networks cannot be bundled; write pipeline/families/points/bundle\.py",
        "export": r"^Points: has no format to export to; .*write pipeline/families/points/export\.py",
    }
    with pytest.raises(InputError, match=expected[part]):
        if part == "bundle":
            write_bundle(run, None, tmp_path / "out")
        else:
            export_bundle(bundle, "onnx", tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("part", "what"), [("bundle", "BUNDLE"), ("export", "FORMATS")])
def test_a_part_that_lacks_what_it_is_there_for_is_told(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, what: str
) -> None:
    monkeypatch.delattr(f"pipeline.families.points.{part}.{what}")
    with pytest.raises(
        InputError, match=rf"^pipeline/families/points/{part}\.py: has no {what}; see docs/families\.md$"
    ):
        export_bundle(bundle, "onnx", tmp_path / "net.onnx")


def test_sections_that_the_family_does_not_have_are_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.families.points import bundle as part

    params = create_model("Params", __base__=part.BUNDLE.params, anchors=(AnchorParams, ...))
    monkeypatch.setattr(part, "BUNDLE", replace(part.BUNDLE, params=params))
    with pytest.raises(
        InputError, match=r"points/bundle\.py: BUNDLE asks for section 'anchors', which the family does "
    ):
        write_bundle(run, None, run / "out")
