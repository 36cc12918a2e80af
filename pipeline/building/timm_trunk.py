"""A trunk made of a timm model, and its initial weights.

Shapes: B images; H, W image height, width; D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.artifacts.weights import State
from pipeline.building.timm_model import installed_timm, pruned, timm_maps, timm_net, timm_version
from pipeline.geometry.trunk_settings import TrunkSettings
from pipeline.nn.backbones.trunk import Maps, Trunk, padded
from pipeline.nn.necks.build import build_neck
from pipeline.runtime.errors import InputError


class TimmTrunk(Trunk):
    """A model of timm's without the layers after its last map. It is frozen whole or trained whole.

    It stays in evaluation mode: nothing is dropped, and batch norm is frozen, as all trunks have it. `layers` are named
    as timm names them. Pixels are normalised as the model's weights need it by timm.

    Args:
        name: `timm/MODEL`.
        settings: whose `frozen_stages` other than 0 freeze the whole model.

    Raises:
        InputError: see `timm_maps`.
    """

    def __init__(self, name: str, settings: TrunkSettings) -> None:
        maps = timm_maps(name, settings)
        super().__init__(maps.layout, build_neck(settings.neck, maps.layout) if settings.neck else None)
        self._name, self._norm = name, maps.norm
        net = _drawn(name, 0)
        self._indices = pruned(net, maps.indices, maps.norm)
        self.layers = _with_frozen_norms(net)
        for own, key in ((self.pixel_mean, "mean"), (self.pixel_std, "std")):
            own.copy_(torch.tensor(net.pretrained_cfg[key]))
        self._is_frozen = settings.frozen_stages > 0
        if self._is_frozen:
            self.layers.requires_grad_(False)

    @property
    def note(self) -> str:
        """Its description in a log."""
        mean, std = ([round(value, 4) for value in own.tolist()] for own in (self.pixel_mean, self.pixel_std))
        return f"{self._name} of timm {timm_version()}, pixels normalised by mean {mean} and std {std}"

    @property
    def frozen_levels(self) -> int:  # type: ignore[override]
        """How many maps `frozen` gives."""
        return len(self._indices) if self._is_frozen else 1

    def train(self, mode: bool = True) -> TimmTrunk:
        """Set training mode, for the neck only."""
        super().train(mode)
        self.layers.eval()
        return self

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights as timm does."""
        seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        self._take(_drawn(self._name, seed).state_dict())

    def frozen(self, images: Tensor) -> Maps:
        """(B, 3, H, W) normalised images to the model's maps where it is frozen, else as they are, padded."""
        images = padded(images, self.layout)
        if not self._is_frozen:
            return (images,)
        with torch.no_grad():
            return self._maps(images)

    def rest(self, maps: Maps) -> Maps:
        """From the output of `frozen` to the model's maps."""
        return maps if self._is_frozen else self._maps(*maps)

    def take_published_model(self, state: Mapping[str, Tensor], source: str) -> None:
        """Load the weights of a state dict of timm's, or of one that timm's reader of the model's published weights
        converts. Layers after the last map are passed over.

        Raises:
            InputError: a weight is missing or of another shape.
        """
        if self._misfit(state) is not None:
            state = _converted(self._name, dict(state), source)
        if (fault := self._misfit(state)) is not None:
            raise InputError(
                f"{source}: weight {fault}; use weights of {self._name} as timm {timm_version()} names them, or choose "
                "the model that they are of"
            )
        self._take(state)

    def _maps(self, images: Tensor) -> Maps:
        made = self.layers.forward_intermediates(  # type: ignore[operator]
            images, indices=self._indices, norm=self._norm, intermediates_only=True
        )
        return tuple(made)

    def _misfit(self, state: Mapping[str, Tensor]) -> str | None:
        for name, weight in self.layers.state_dict().items():
            if name not in state:
                return f"{name!r} is missing"
            if state[name].shape != weight.shape:
                return f"{name!r} has shape {tuple(state[name].shape)}, {self._name} needs {tuple(weight.shape)}"
        return None

    def _take(self, state: Mapping[str, Tensor]) -> None:
        self.layers.load_state_dict({name: state[name].float() for name in self.layers.state_dict()})


def _drawn(name: str, seed: int) -> Any:
    """The model with weights drawn from a seed; torch's global state is not changed."""
    installed_timm(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm_net(name)


def _with_frozen_norms(net: Any) -> nn.Module:
    """The model with the weights of batch norm as buffers, which are never trained."""
    from timm.layers import freeze_batch_norm_2d

    frozen: nn.Module = freeze_batch_norm_2d(net)
    return frozen


def _converted(name: str, state: State, source: str) -> State:
    """A state dict as timm's own reader of the model's weights would have it: renamed, or with positions resized."""
    net = _drawn(name, 0)
    reader = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    if reader is None:
        return state
    try:
        return dict(reader(state, net))
    except (RuntimeError, LookupError, TypeError, ValueError, AssertionError, AttributeError):
        return state  # what does not fit is named
