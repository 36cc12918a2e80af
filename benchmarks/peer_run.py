"""One run of a peer in `benchmarks.equal_time`, on the artifacts of our stages in a scratch copy of the project."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks.dense_peer import PEERS
from benchmarks.guarded_run import run_module
from benchmarks.our_run import ROOT
from benchmarks.peer_training import Budget, Diverged, Recipe, evaluate, our_recipe, torchvision_recipe, train
from benchmarks.pieces import Record
from benchmarks.resnet_peer import build_resnet_peer
from benchmarks.torchvision_joint import build
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.params.file import load_params
from pipeline.params.reading import Params
from pipeline.runtime.errors import InputError


def measure_peer(root: Path, kind: str, seconds: float, lr: float, seed: int) -> Record:
    """`run_peer` in a process of its own, as a training takes gigabytes that malloc does not give back.

    Raises:
        InputError: it has failed, as where memory runs out; it has said why.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "record.json"
        words = [str(root), kind, str(seconds), str(lr), str(seed), "--out", str(out)]
        run_module("benchmarks.peer_run", words, cwd=ROOT, code=ROOT)
        record: Record = json.loads(out.read_text(encoding="utf-8"))
        return record


def run_peer(root: Path, kind: str, seconds: float, lr: float, seed: int) -> Record:
    """Train for `seconds` and evaluate; a run that diverges has an mAP50 of 0.

    Args:
        root: where params.yaml is, and data/ with dataset, resize and backbone.
        kind: shipped or same; of a trunk that is not a ResNet there is `same` alone.
    """
    params, data = load_params(root / "params.yaml"), root / "data"
    torch.manual_seed(seed)
    classes = json.loads((data / "resize" / "classes.json").read_text(encoding="utf-8"))
    on_resnet = build_resnet_peer if params.backbone.name.startswith("resnet") else None
    own_class: Callable[[Params, Path, int], nn.Module] | None = PEERS.get(params.family, on_resnet)
    model = (own_class or build)(params, data, len(classes))
    recipe = our_recipe(params) if own_class is None else _recipe(params, data, kind)
    try:
        iterations, took = train(model, data, recipe, Budget(seconds, None), lr)
    except Diverged as reason:
        return {"seconds": 0.0, "images": 0, "mAP50": 0.0, "AP": 0.0, "diverged": str(reason)}
    figures = evaluate(model, data, recipe.base, len(classes), params.evaluate.split)
    return {"seconds": round(took, 1), "images": iterations * recipe.batch, **figures}


def _recipe(params: Params, data: Path, kind: str) -> Recipe:
    photos = len(ResizedImages(data / "resize", "train"))
    return torchvision_recipe(params.base, shipped=kind == "shipped", iterations_per_epoch=photos // 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("kind", choices=("shipped", "same"))
    for name, kind in (("seconds", float), ("lr", float), ("seed", int)):
        parser.add_argument(name, type=kind)
    parser.add_argument("--out", type=Path, required=True, help="JSON of the record")
    given = parser.parse_args()
    try:
        record = run_peer(given.root, given.kind, given.seconds, given.lr, given.seed)
    except InputError as error:
        sys.exit(f"peer_run: {error}")
    given.out.write_text(json.dumps(record), encoding="utf-8")


if __name__ == "__main__":
    main()
