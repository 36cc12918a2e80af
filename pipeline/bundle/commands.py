"""`frcnn bundle`, `predict`, `export` and `evaluate`; torch is imported by those that run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text

if TYPE_CHECKING:
    from pipeline.params.dataset import DatasetParams

BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="folder that frcnn bundle wrote")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; default: a GPU if there is one")]


def bundle(
    out: Annotated[Path, typer.Option(help="folder to write; replaces an earlier bundle there")],
    network: Annotated[
        str | None,
        typer.Option(help="network of the family; default: the one by which the family is judged (docs/use.md)"),
    ] = None,
) -> None:
    """Write a trained network, with everything needed to use it, into one folder for predict, export and evaluate."""
    from pipeline.bundle.writing import write_bundle

    _echo(write_bundle(Path.cwd(), network, out))


def predict(
    folder: BundleFolder,
    paths: Annotated[list[str], typer.Argument(help="photos, folders of photos, or globs in quotes")],
    out: Annotated[Path, typer.Option(help="folder for the detections and the drawings")],
    score: Annotated[float, typer.Option(min=0, max=1, help="lowest score of the detections")] = 0.5,
    drawings: Annotated[
        bool, typer.Option("--drawings/--no-drawings", help="also write the photos with their detections drawn")
    ] = True,
    form: Annotated[
        str,
        typer.Option(
            "--format", help="format of the detections: coco, yolo, voc, or labelstudio to correct them there"
        ),
    ] = "coco",
    device: Device = None,
) -> None:
    """Detect objects in photos, and write the detections and drawings. Ends with status 1 if a photo cannot be read."""
    from pipeline.bundle.detector import Detector
    from pipeline.bundle.predict import find_photos, warn
    from pipeline.bundle.predict import predict as predict_photos
    from pipeline.bundle.prediction_files import writer_of
    from pipeline.datasets.file_names import junk_remark
    from pipeline.runtime.memory import keep_freed_memory

    writer_of(form)  # refused before anything is loaded
    album = find_photos(paths, out)
    keep_freed_memory()
    detector = Detector.load(folder, device)
    for place, reason in album.unreadable:
        warn(f"{place}: cannot be read ({reason}), so nothing in it is detected; make it readable")
    counts = predict_photos(detector, album.photos, out, score, drawings, form)
    counts.failed += len(album.unreadable)
    failed = f", {count_text(counts.failed, 'photo')} could not be read" if counts.failed else ""
    _echo(junk_remark(album.junk))
    found = f"{count_text(counts.detections, 'detection')} of at least {score:g}"
    _echo([f"{out}: {found} in {count_text(counts.photos, 'photo')}{failed}{counts.nothing_found()}"])
    if counts.failed:
        raise typer.Exit(1)


def export(
    folder: BundleFolder,
    form: Annotated[
        str, typer.Option("--format", help="torchvision or onnx, as far as the family of the bundle has it")
    ],
    out: Annotated[Path, typer.Option(help="file to write: .safetensors for torchvision, .onnx for onnx")],
) -> None:
    """Write a bundle's network for another library; docs/use.md lists the formats of each family."""
    from pipeline.export.files import export_bundle

    _echo(export_bundle(folder, form, out))


def evaluate(
    data: Annotated[Path, typer.Option(help="folder of the data set")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE", help="folder that frcnn bundle wrote", show_default=False)
    ] = None,
    detections: Annotated[
        Path | None,
        typer.Option(help="evaluate these detections, without a bundle: COCO results, VOC's texts, detections.parquet"),
    ] = None,
    iou: Annotated[
        float | None, typer.Option(help="with --detections: least IoU of a correct detection; default: 0.5")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="preset to take the sections dataset and evaluate from; default: params.yaml")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="dataset.key=value or evaluate.key=value; may be repeated")
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test")] = "test",
    out: Annotated[
        Path | None, typer.Option(help="folder for metrics.json, or a .json file; with --detections a folder")
    ] = None,
    device: Device = None,
) -> None:
    """Evaluate a bundle on a data set: VOC's mAP, COCO's AP, and AP per class. Classes are matched by name.

    Counts detections with a score of at least evaluate.score_threshold, at most evaluate.per_image per image, for every
    family. With --detections FILE: AP of all detections in FILE at any IoU, per class, with the curves.
    """
    from pipeline.bundle.evaluate import is_of_stage
    from pipeline.datasets.base import SPLITS
    from pipeline.presets.apply import judging_params
    from pipeline.presets.data_layout import data_to_judge, without_auto

    if not data.is_dir():
        raise InputError(f"--data {data}: no such folder; give the folder that holds the data set")
    if split not in SPLITS:
        raise InputError(f"--split {split}: no such split; there are {', '.join(SPLITS)}")
    if (folder is None) == (detections is None):
        raise InputError("give either a BUNDLE, to detect and judge, or --detections FILE, to judge what it holds")
    refused = next((text for text in settings or [] if text.startswith("evaluate.")), None)
    if detections is not None and refused:
        raise InputError(
            f"--set {refused}: has no effect with --detections, which are judged as they are; leave it out"
        )
    if detections is None and iou is not None:
        raise InputError("--iou: goes with --detections; a bundle is judged at IoU 0.5 and at COCO's thresholds")
    params = judging_params(Path.cwd(), preset, without_auto(settings or []))
    dataset, line = params.dataset, None
    if not is_of_stage(data):
        dataset, line = data_to_judge(data, dataset, settings or [], split)
        _echo([line] if line else [])
    if detections is not None:
        _judge_file(detections, data, dataset, split, iou, out)
        return
    assert folder is not None
    from pipeline.bundle.detector import Detector
    from pipeline.bundle.evaluate import evaluate as judge
    from pipeline.bundle.evaluate import report, write_metrics
    from pipeline.runtime.memory import keep_freed_memory

    keep_freed_memory()
    evaluation = judge(Detector.load(folder, device), data, dataset, split, params.evaluate)
    _echo(report(evaluation))
    if out is not None:
        _echo([f"{write_metrics(evaluation, out)}: written"])


def _judge_file(file: Path, data: Path, params: DatasetParams, split: str, iou: float | None, out: Path | None) -> None:
    from pipeline.judging.evaluate import judge_detections, report_lines, write_judged

    if out is not None and out.suffix == ".json":
        raise InputError(f"--out {out}: the figures and the curves of --detections are three files; give a folder")
    judged = judge_detections(file, data, params, split, 0.5 if iou is None else iou)
    _echo(report_lines(judged))
    if out is not None:
        _echo([f"{path}: written" for path in write_judged(judged, out)])


VERBS = (bundle, predict, export, evaluate)


def _echo(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)
