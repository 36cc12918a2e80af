"""Which images make up which iteration."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts.image_views import Entry
from pipeline.runtime.errors import InputError
from pipeline.training.order import EpochOrder


def entries_of(count: int) -> list[Entry]:
    return [Entry(f"{i // 2:06d}", bool(i % 2)) for i in range(count)]


def order_of(landscape: list[bool], batch: int, seed: int = 0, stage: str = "train") -> EpochOrder:
    return EpochOrder(entries_of(len(landscape)), landscape, batch, seed, stage)


cases = st.tuples(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 6)).filter(
    lambda case: len(case[0]) >= case[1]
)


@given(cases)
def test_an_epoch_visits_each_entry_at_most_once_and_drops_fewer_than_a_batch(case: tuple[list[bool], int]) -> None:
    landscape, batch = case
    order = order_of(landscape, batch)
    assert order.batches_per_epoch == len(landscape) // batch
    for epoch in range(2):
        visited: Counter[Entry] = Counter()
        for position in range(order.batches_per_epoch):
            told_epoch, entries = order(epoch * order.batches_per_epoch + position)
            assert (told_epoch, len(entries)) == (epoch, batch)
            visited.update(entries)
        assert max(visited.values()) == 1
        assert set(visited) <= set(entries_of(len(landscape)))
        assert len(landscape) - len(visited) < batch


@given(cases, st.lists(st.integers(0, 50), min_size=1, max_size=8))
def test_an_iterations_entries_do_not_depend_on_what_was_asked_before(
    case: tuple[list[bool], int], iterations: list[int]
) -> None:
    order = order_of(*case)
    for iteration in iterations:
        assert order(iteration) == order_of(*case)(iteration)


@given(cases)
def test_batches_mix_landscape_and_portrait_only_where_one_kind_is_used_up(case: tuple[list[bool], int]) -> None:
    landscape, batch = case
    order, kinds = order_of(landscape, batch), dict(zip(entries_of(len(landscape)), landscape, strict=True))
    pure = [len({kinds[entry] for entry in order(i)[1]}) == 1 for i in range(order.batches_per_epoch)]
    whole = landscape.count(True) // batch + landscape.count(False) // batch
    assert all(pure[:whole])
    assert len(pure) - whole <= 1


def test_epochs_seeds_and_stages_are_shuffled_each_in_their_own_way() -> None:
    landscape = [True] * 30

    def epoch_of(order: EpochOrder, epoch: int) -> tuple[Entry, ...]:
        per_epoch = order.batches_per_epoch
        return tuple(entry for i in range(per_epoch) for entry in order(epoch * per_epoch + i)[1])

    plans = {
        epoch_of(order_of(landscape, 3, seed, stage), epoch)
        for seed in (0, 1)
        for stage in ("train_rpn_step1", "train_rpn_step3")
        for epoch in (0, 1)
    }
    assert len(plans) == 8
    assert tuple(entries_of(30)) not in plans


def test_entries_left_out_of_one_epoch_are_not_left_out_of_all() -> None:
    order = order_of([True, False, True, False, True], 2)
    seen = {entry for iteration in range(40) for entry in order(iteration)[1]}
    assert seen == set(entries_of(5))


def test_fewer_entries_than_a_batch_are_told_in_one_line_with_the_parameter_to_change() -> None:
    with pytest.raises(InputError) as caught:
        order_of([True] * 3, 4, stage="train_head_step2")
    message = str(caught.value)
    assert message == "3 training images are fewer than train_head_step2.images_per_iteration 4; lower it"
