"""Random generators keyed by purpose, so that no draw depends on global state or on order."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(run_seed: int, *key: str | int) -> int:
    """A 63-bit seed for one purpose of one run, e.g. `derive_seed(0, "train_rpn_step1", epoch, image_id)`.

    Equal arguments give equal seeds on every machine and Python version; a key part may not contain a NUL character.

    Raises:
        TypeError: a key part is a bool; a view of an image is named by its number.
    """
    if any(isinstance(part, bool) for part in key):
        raise TypeError(f"a key part is a bool: {key}; give an integer")
    text = "\0".join([str(run_seed), *(f"{type(part).__name__}:{part}" for part in key)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def numpy_generator(run_seed: int, *key: str | int) -> np.random.Generator:
    """A NumPy generator seeded by `derive_seed`."""
    return np.random.default_rng(derive_seed(run_seed, *key))
