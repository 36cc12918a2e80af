"""The file of an exported network, written from a finished run and read back.

A safetensors file holds the weights under torchvision's names and, in its header, the settings that rebuild the network
around them, so that it can be moved alone; a .json beside it shows the settings to people.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torchvision.models.detection import FasterRCNN

from pipeline.artifacts.atomic import atomic_file, write_text
from pipeline.build import load_head, load_rpn, load_trunk
from pipeline.errors import InputError
from pipeline.export.model import ExportSettings, build_torchvision, settings_of, torchvision_state
from pipeline.params import Params, ResizeParams, load_params

NETWORKS = {
    "step4": ("train_head_step2", "train_rpn_step3", "train_head_step4"),
    "joint": ("finetune_joint", "finetune_joint", "finetune_joint"),
}
"""Network to the stages that trained its trunk, its RPN and its RoI head."""

# No weight's shape gives these away: with other values than in training the network would be silently wrong.
_TRAINED_WITH = {
    "backbone": ("name", "ceil_pool"),
    "anchors": ("base_size", "ratios", "scales"),
    "roi_head": ("pool", "output_size"),
    "resize": tuple(ResizeParams.model_fields),
}


def export_network(root: Path, network: str, out: Path) -> list[str]:
    """Write a trained network of the project in `root` to `out`, and its settings to a .json beside it.

    Args:
        root: folder of params.yaml and data/.
        network: step4 or joint.
        out: a .safetensors file.

    Returns:
        Lines that tell what was done.

    Raises:
        InputError: no such network or one of two trunks, stages that have not run or ran with other parameters than
            params.yaml has now, or a file that cannot be written.
    """
    if network == "step2":
        raise InputError(
            "--network step2: is unshared, and its two trunks cannot be one torchvision FasterRCNN; "
            "export step4 or joint"
        )
    if network not in NETWORKS:
        raise InputError(f"--network {network}: no such network; there are {', '.join(NETWORKS)}")
    if out.suffix != ".safetensors" or not out.parent.is_dir():
        raise InputError(f"--out {out}: give a .safetensors file in a folder that exists")
    data, stages = root / "data", NETWORKS[network]
    params = load_params(root / "params.yaml")
    _check_trained_with(root / "dvc.lock", ("resize", *stages), params)
    trunk = load_trunk(data / stages[0], params.backbone)
    rpn = load_rpn(data / stages[1], trunk.out_channels, params.anchors, params.rpn)
    head = load_head(data / stages[2], trunk.out_channels, trunk.stride, params.roi_head)
    settings = settings_of(params, network, _read_classes(data / "resize/classes.json", head.num_classes))
    text, shown = settings.model_dump_json(indent=1) + "\n", out.with_suffix(".json")
    try:
        with atomic_file(out) as temporary:
            save_file(torchvision_state(trunk, rpn, head), temporary, metadata={"settings": text})
        write_text(shown, text)
    except (OSError, SafetensorError) as error:
        raise InputError(f"--out {out}: cannot be written ({_first_line(error)}); choose another place") from error
    return [f"{out}: the {network} network, {out.stat().st_size / 1e6:.1f} MB", f"{shown}: its settings and classes"]


def load_exported(path: Path) -> FasterRCNN:
    """The network that `frcnn export` wrote to the .safetensors file `path`, in evaluation mode.

    It takes a list of (3, H, W) float32 RGB images in 0..1, which it resizes and normalises itself; one that has the
    size that the resize stage gives keeps its pixels. Detections are in pixels of the images given.

    Raises:
        InputError: the file is missing or damaged, or holds no exported network.
    """
    path = Path(path)
    again = "write it again with frcnn export"
    if not path.is_file():
        raise InputError(f"{path}: no such file; {again}")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("settings", "")
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({_first_line(error)}); {again}") from error
    if not text:
        raise InputError(f"{path}: has no settings in its header, so it holds no exported network; {again}")
    try:
        settings = ExportSettings.model_validate_json(text, strict=True)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(["settings", *map(str, fault["loc"])])
        raise InputError(f"{path}: {where} in its header: {fault['msg']}; {again}") from error
    return build_torchvision(settings, state, path)


def _read_classes(path: Path, count: int) -> list[str]:
    rerun = "rerun the stage that writes it (dvc repro resize)"
    try:
        classes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable list of classes ({_first_line(error)}); {rerun}") from error
    if len(classes) != count:
        raise InputError(f"{path}: names {len(classes)} classes, the RoI head was trained with {count}; run dvc repro")
    return classes


def _check_trained_with(lock: Path, stages: Sequence[str], params: Params) -> None:
    try:
        recorded = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]
    except FileNotFoundError:
        # Stages run by hand leave no record to compare with.
        return
    for stage in stages:
        sections = recorded.get(stage, {}).get("params", {}).get("params.yaml", {})
        for section in sections.keys() & _TRAINED_WITH.keys():
            now = getattr(params, section).model_dump()
            for key in _TRAINED_WITH[section]:
                if sections[section][key] != now[key]:
                    raise InputError(
                        f"params.yaml: {section}.{key} is {now[key]!r}, data/{stage} was made with "
                        f"{sections[section][key]!r}; run dvc repro, or put the parameter back"
                    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
