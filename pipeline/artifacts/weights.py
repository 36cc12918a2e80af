"""Weights in safetensors files: one part of the network a prefix (`trunk.`, `rpn.`, `head.`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pipeline.artifacts.atomic import atomic_file
from pipeline.artifacts.manifest import check_file
from pipeline.artifacts.weight_parts import part_of
from pipeline.runtime.errors import InputError

State = dict[str, torch.Tensor]

MODEL_FILE = "model.safetensors"


def save_parts(folder: Path, parts: Mapping[str, torch.nn.Module | State]) -> None:
    """Write `folder`/model.safetensors with the state of each part, e.g. `{"trunk": trunk, "rpn": rpn}`."""
    tensors = {}
    for part, content in parts.items():
        state = content.state_dict() if isinstance(content, torch.nn.Module) else content
        # A channels_last tensor is not contiguous in the sense of the file format.
        tensors.update({f"{part}.{name}": tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    with atomic_file(Path(folder) / MODEL_FILE) as temporary:
        save_file(tensors, temporary)


def load_part(folder: Path, part: str, optional: bool = False) -> State:
    """The state of one part of a stage's model.safetensors; empty where it is missing and `optional`.

    Of the other parts nothing is read.

    Raises:
        InputError: the file is missing or damaged, differs from the folder's manifest, or does not hold the part.
    """
    path = Path(folder) / MODEL_FILE
    rerun = f"rerun the stage that writes it (dvc repro {path.parent.name})"
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; {rerun}")
    check_file(path, part)
    try:
        with safe_open(path, "pt") as file:
            own = [name for name in file.keys() if part_of(name) == part]  # noqa: SIM118
            state = {name.removeprefix(f"{part}."): file.get_tensor(name) for name in own}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); {rerun}") from error
    if not state and not optional:
        raise InputError(f"{path}: holds no weights of the {part}; {rerun}")
    return state


def select_part(tensors: Mapping[str, torch.Tensor], part: str) -> State:
    """The state of one part of many; empty where there is none."""
    return {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}


def misfit(module: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> str | None:
    """The first weight, by name, that is missing in `state`, unknown or of another shape, and how; None where all
    fit."""
    own = module.state_dict()
    for name in sorted(own.keys() | state.keys()):
        if name not in state:
            return f"weight {name!r} is missing; use weights of the configured network"
        if name not in own:
            return f"weight {name!r} is not part of the configured network"
        if own[name].shape != state[name].shape:
            return (
                f"weight {name!r} has shape {tuple(state[name].shape)}, "
                f"the configured network needs {tuple(own[name].shape)}"
            )
    return None


def restore(module: torch.nn.Module, state: Mapping[str, torch.Tensor], source: Path | str) -> None:
    """Load `state` into `module`, every name and shape checked.

    Raises:
        InputError: a weight is missing, unknown or of another shape; the first one is named with both shapes.
    """
    fault = misfit(module, state)
    if fault is not None:
        raise InputError(f"{source}: {fault}")
    module.load_state_dict(dict(state))


def restore_fitting(module: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Load those layers of `state` into `module` whose tensors are all there and have its shapes."""
    own = module.state_dict()
    layers = {name.rpartition(".")[0] for name in own}
    fitting = {}
    for layer in layers:
        names = [name for name in own if name.rpartition(".")[0] == layer]
        if all(name in state and state[name].shape == own[name].shape for name in names):
            fitting.update({name: state[name] for name in names})
    module.load_state_dict(fitting, strict=False)
