"""Seeds depend on their key and on nothing else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from pipeline.runtime.seeding import derive_seed, numpy_generator
from pipeline.runtime.torch_seeding import torch_generator


def test_seeds_are_the_same_on_every_machine_and_in_every_release() -> None:
    assert derive_seed(0) == 4761921975702974394
    assert derive_seed(0, "train_rpn_step1", "anchors", 3, "000005", 1) == 2599794100037219887


def test_keys_that_differ_in_any_part_in_type_or_in_order_give_other_seeds() -> None:
    keys: list[tuple[int, tuple[str | int, ...]]] = [
        (0, ()),
        (1, ()),
        (0, ("a",)),
        (0, ("a", 1)),
        (0, ("a", "1")),
        (0, (1, "a")),
        (0, ("a1",)),
        (0, ("a", 1, 1)),
        (0, ("a", 11)),
        (0, ("",)),
        (10, ("a",)),
    ]
    seeds = [derive_seed(run_seed, *key) for run_seed, key in keys]
    assert len(set(seeds)) == len(keys)


def test_a_flag_is_refused_as_a_view_of_an_image_has_a_number() -> None:
    with pytest.raises(TypeError, match="give an integer"):
        derive_seed(0, "train_rpn_step1", "anchors", 3, "000005", True)


def test_seeds_are_63_bits_wide_and_fill_them() -> None:
    seeds = [derive_seed(0, i) for i in range(200)]
    assert min(seeds) >= 0
    assert max(seeds) < 2**63
    assert max(seeds) > 2**62


def test_generators_of_equal_keys_draw_equal_numbers_and_others_do_not() -> None:
    keys: list[tuple[str | int, ...]] = [("order", 0), ("order", 0), ("order", 1)]
    same, again, other = (numpy_generator(5, *key).integers(1 << 40, size=4).tolist() for key in keys)
    assert same == again != other
    same, again, other = (torch.rand(4, generator=torch_generator(5, *key)).tolist() for key in keys)
    assert same == again != other


def test_generators_neither_read_nor_move_the_global_state() -> None:
    drawn = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        np.random.seed(global_seed)
        before = torch.get_rng_state()
        drawn.append((float(torch.rand(1, generator=torch_generator(0, "x"))), float(numpy_generator(0, "x").random())))
        assert torch.equal(torch.get_rng_state(), before)
    assert drawn[0] == drawn[1]


def test_purposes_that_share_a_run_do_not_share_a_stream() -> None:
    """Neighbouring epochs and images must not draw alike, as `seed + epoch` would."""
    draws = [
        tuple(numpy_generator(seed, "stage", epoch, image).permutation(20).tolist())
        for seed, epoch, image in itertools.product(range(3), range(3), ("a", "b"))
    ]
    assert len(set(draws)) == len(draws)
