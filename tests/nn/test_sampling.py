"""Samples keep their fractions, hold no candidate twice and depend on nothing but the generator."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.nn.sampling import sample_fg_bg


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


counts = st.integers(0, 60)


@given(counts, counts, st.integers(1, 40), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 99))
def test_fg_takes_at_most_its_fraction_and_bg_fills_the_rest_without_replacement(
    fg_candidates: int, bg_candidates: int, count: int, fraction: float, seed: int
) -> None:
    fg, bg = torch.arange(fg_candidates) * 3, torch.arange(bg_candidates) * 3 + 1
    drawn_fg, drawn_bg = (drawn.tolist() for drawn in sample_fg_bg(fg, bg, count, fraction, generator(seed)))
    assert len(drawn_fg) == min(fg_candidates, int(count * fraction))
    assert len(drawn_bg) == min(bg_candidates, count - len(drawn_fg))
    for drawn, candidates in ((drawn_fg, fg), (drawn_bg, bg)):
        assert len(set(drawn)) == len(drawn)
        assert set(drawn) <= set(candidates.tolist())


def test_256_anchors_are_half_fg_and_64_rois_a_quarter() -> None:
    many = torch.arange(1000)
    assert [len(part) for part in sample_fg_bg(many, many, 256, 0.5, generator())] == [128, 128]
    assert [len(part) for part in sample_fg_bg(many, many, 64, 0.25, generator())] == [16, 48]
    assert [len(part) for part in sample_fg_bg(many[:3], many, 64, 0.25, generator())] == [3, 61]


def test_equal_generators_draw_equal_samples_and_the_global_state_plays_no_part() -> None:
    fg, bg = torch.arange(50), torch.arange(50, 200)
    torch.manual_seed(1)
    first = sample_fg_bg(fg, bg, 32, 0.5, generator(7))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = sample_fg_bg(fg, bg, 32, 0.5, generator(7))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[1], sample_fg_bg(fg, bg, 32, 0.5, generator(8))[1])


def test_every_candidate_is_drawn_about_equally_often() -> None:
    one_generator, times = generator(), torch.zeros(10)
    for _ in range(1000):
        fg, bg = sample_fg_bg(torch.arange(5), torch.arange(5, 10), 4, 0.5, one_generator)
        times[torch.cat([fg, bg])] += 1
    assert bool(((times > 340) & (times < 460)).all()), times
