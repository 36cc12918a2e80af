"""The graphs of all families, each twice side by side, deterministic, and its last training stopped and resumed."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.gpu_kit import copy_photos
from benchmarks.gpu_truth.bench import Bench
from benchmarks.gpu_truth.graph import (
    TRAININGS,
    compared,
    hashes_of,
    new_project,
    run_graphs,
    section_ends,
    stopped,
)

PRESETS = {
    "retinanet": ("voc6_retinanet_resnet18", ("train_retinanet",)),
    "fcos": ("voc6_fcos_resnet18", ("train_fcos",)),
    "ssd": ("voc6_ssd300", ("train_ssd",)),
    "faster_rcnn_joint": ("coco_resnet50_fpn", ("train_end_to_end",)),
    "faster_rcnn": ("voc6_resnet18_fpn", TRAININGS),
}
"""By family, a preset and its stages that train; the last one is stopped and resumed."""


def run(bench: Bench) -> None:
    """All graphs at once: a GPU has room for them. What both runs of one have done in time is compared."""
    photos = bench.work / "photos-of-families"
    copy_photos(bench.kit / "photos", photos, 16 if bench.small else 32)
    pairs = {
        family: [_project(bench, photos, bench.work / f"{family}-{number}", family) for number in (1, 2)]
        for family in PRESETS
    }
    projects = [folder for pair in pairs.values() for folder in pair]

    def record(done: Sequence[Mapping[str, float]]) -> None:
        bench.record(stages_done={folder.name: len(own) for folder, own in zip(projects, done, strict=True)})

    done = run_graphs(projects, section_ends(bench, "families", 2 / 3), record)
    seconds = dict(zip(projects, done, strict=True))
    for family, pair in pairs.items():
        found = compared([hashes_of(folder) for folder in pair], [seconds[folder] for folder in pair])
        bench.record(**{family: {"seconds": seconds[pair[0]], **found}})
    trained = {
        family: pair
        for family, pair in pairs.items()
        if all(PRESETS[family][1][-1] in seconds[folder] for folder in pair)
    }
    _stop_all(bench, trained)


def _project(bench: Bench, photos: Path, folder: Path, family: str) -> Path:
    """A few iterations of a preset on VOC photos at shorter side 300, weights random but for VGG16."""
    preset, trainings = PRESETS[family]
    changes = []
    for training in trainings:
        changes += [f"{training}.iterations={12 if bench.small else 30}", f"{training}.images_per_iteration=2"]
        changes += [f"{training}.lr=0.001", f"{training}.lr_drop_at=[]", f"{training}.warmup_iterations=1"]
    changes += ["base.deterministic=true", f"dataset.root={photos}"]
    if family == "ssd":
        changes += [f"backbone.weights={bench.weights() / 'vgg16.safetensors'}"]
    else:
        changes += ["backbone.weights=random", "backbone.name=resnet18"]
        changes += ["resize.shorter_side=128", "resize.longer_side=200"] if bench.small else []
    if family == "faster_rcnn_joint":
        changes += ["dataset.reader=voc", "dataset.voc.train=[train]", "dataset.voc.test=[test]"]
        changes += [] if bench.small else ["resize.shorter_side=300", "resize.longer_side=500"]
    if family.startswith("faster_rcnn") and bench.small:
        changes += ["roi_head.hidden=32"]
    return new_project(folder, preset, changes + ["base.threads=1"] * bench.small)


def _stop_all(bench: Bench, pairs: Mapping[str, Sequence[Path]]) -> None:
    """Stop the training of each second project, side by side."""
    found: dict[str, dict[str, object]] = {}

    def stop(family: str) -> None:
        first, second = pairs[family]
        try:
            found[family] = stopped(second, PRESETS[family][1][-1], hashes_of(first))
        except Exception as error:
            found[family] = {"error": f"{type(error).__name__}: {error}"}

    threads = [threading.Thread(target=stop, args=(family,)) for family in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
        bench.record(stopped_and_resumed=dict(found))
