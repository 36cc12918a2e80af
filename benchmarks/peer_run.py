"""One run of a peer in `benchmarks.equal_time`, on the artifacts of our stages in a scratch copy of the project."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.peer_training import Budget, Diverged, Recipe, evaluate, our_recipe, torchvision_recipe, train
from benchmarks.pieces import Record
from benchmarks.resnet_peer import build_resnet_peer
from benchmarks.torchvision_joint import build
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.params.file import load_params
from pipeline.params.reading import Params
from pipeline.runtime.stopping import end_with_parent


def measure_peer(root: Path, kind: str, seconds: float, lr: float, seed: int) -> Record:
    """`run_peer` in a process of its own, as a training takes gigabytes that malloc does not give back."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=end_with_parent) as process:
        return process.submit(run_peer, root, kind, seconds, lr, seed).result()


def run_peer(root: Path, kind: str, seconds: float, lr: float, seed: int) -> Record:
    """Train for `seconds` and evaluate; a run that diverges has an mAP50 of 0.

    Args:
        root: where params.yaml is, and data/ with dataset, resize and backbone.
        kind: shipped or same; of a trunk that is no ResNet there is `same` alone.
    """
    params, data = load_params(root / "params.yaml"), root / "data"
    torch.manual_seed(seed)
    classes = json.loads((data / "resize" / "classes.json").read_text(encoding="utf-8"))
    is_resnet = params.backbone.name.startswith("resnet")
    model = (build_resnet_peer if is_resnet else build)(params, data, len(classes))
    recipe = _recipe(params, data, kind) if is_resnet else our_recipe(params)
    try:
        iterations, took = train(model, data, recipe, Budget(seconds, None), lr)
    except Diverged as reason:
        return {"seconds": 0.0, "images": 0, "mAP50": 0.0, "AP": 0.0, "diverged": str(reason)}
    figures = evaluate(model, data, recipe.base, len(classes), params.evaluate.split)
    return {"seconds": round(took, 1), "images": iterations * recipe.batch, **figures}


def _recipe(params: Params, data: Path, kind: str) -> Recipe:
    photos = len(ResizedImages(data / "resize", "train"))
    return torchvision_recipe(params.base, shipped=kind == "shipped", iterations_per_epoch=photos // 2)
