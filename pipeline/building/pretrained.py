"""Initial weights: ImageNet's in torchvision's layout, from a file or its hub."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from pipeline.artifacts.weights import State
from pipeline.building.timm_trunk import TimmTrunk
from pipeline.nn.backbones.trunk import Trunk
from pipeline.runtime.errors import InputError


def read_weights_folder(folder: Path, option: str) -> tuple[State, str]:
    """The state dict of the one file in a linked folder, .safetensors or .pth, and the file's name.

    Args:
        folder: data/weights.
        option: what `frcnn preset` links it by.

    Raises:
        InputError: there is no file or more than one, or it is not a state dict of tensors. Pickled code is never run.
    """
    files = sorted(path for path in Path(folder).iterdir() if not path.name.startswith("."))
    if len(files) != 1:
        raise InputError(
            f"{folder}: holds {len(files)} files where one weights file is needed; give {option}=PATH to frcnn preset"
        )
    return read_state(files[0], option), files[0].name


def read_state(path: Path, option: str) -> State:
    """The state dict of a .safetensors or .pth file.

    Raises:
        InputError: it is not a state dict of tensors. Pickled code is never run.
    """
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (OSError, RuntimeError, EOFError, ValueError, SafetensorError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{path}: not a readable weights file ({_first_line(error)}); give another to frcnn preset as {option}=PATH"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path}: is not a state dict of tensors; save the model's state_dict() instead")
    return dict(state)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def download_weights(name: str) -> tuple[State, str]:
    """torchvision's ImageNet weights of a backbone.

    Raises:
        InputError: they cannot be fetched.
    """
    from torchvision.models import get_model_weights

    weights = get_model_weights(name)["IMAGENET1K_V1"]
    try:
        return dict(weights.get_state_dict(check_hash=True)), str(weights)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{weights.url}: cannot be fetched ({_first_line(error)}); "
            "fetch it elsewhere and give backbone.weights=PATH to frcnn preset"
        ) from error


def load_pretrained(trunk: Trunk, state: State, source: str) -> State:
    """Load a published network's layers into the trunk's backbone, and return those that a RoI head starts from (VGG's
    fc6 and fc7, ResNet's res5 without a neck): an empty state where there are none. See `Neck.take_published` for a
    neck's.

    Raises:
        InputError: a layer is missing or of another shape.
    """
    if isinstance(trunk, TimmTrunk):
        trunk.take_published_model(state, source)
        return {}
    prefix = trunk.published_prefix
    if not any(name.startswith(prefix or "layer") for name in state):
        raise InputError(f"{source}: has no weights named {prefix or 'layer'}*; use torchvision's layout")
    own = trunk.state_dict()
    for name, weight in own.items():
        if not name.startswith("layers."):
            continue
        theirs = prefix + name.removeprefix("layers.")
        if theirs not in state or state[theirs].shape != weight.shape:
            found = f"has shape {tuple(state[theirs].shape)}" if theirs in state else "is missing"
            raise InputError(
                f"{source}: weight {theirs!r} {found}, the configured backbone needs {tuple(weight.shape)}; "
                "use weights of that network"
            )
        own[name] = state[theirs]
    trunk.load_state_dict(own)
    return {
        ours + name.removeprefix(theirs): value.to(torch.float32)
        for theirs, ours in trunk.published_head.items()
        for name, value in state.items()
        if name.startswith(theirs) and not name.endswith("num_batches_tracked")
    }
