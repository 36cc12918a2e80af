"""torch generators, separate from `pipeline.runtime.seeding` so that other code does not depend on torch."""

from __future__ import annotations

import torch

from pipeline.runtime.seeding import derive_seed


def torch_generator(run_seed: int, *key: str | int, device: str = "cpu") -> torch.Generator:
    """A torch generator on `device` seeded by `derive_seed`."""
    return torch.Generator(device=device).manual_seed(derive_seed(run_seed, *key))
