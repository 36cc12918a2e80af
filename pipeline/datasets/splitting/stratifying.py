"""Groups of images dealt out to splits, so that each split has its share of the images of every class.

A hash gives each group a number from 0 to 1, by which it begins in a split: below the share of test in test, and so on.
Then the groups are gone through in the order of their numbers, again and again: one is moved where that brings the
splits nearer to their shares. Of up to some thousand groups, two are also exchanged where that does. It ends when
neither does. Near is measured as in a chi-squared test, by the sum over splits of

    sum over classes c of (images with c - share x all with c)^2 / all with c  +  sqrt(C) (images - share x all)^2 / all

where C is the number of classes. The measure is kept in whole numbers, so that every sum is exact and the order of the
groups decides a tie, not that of the classes or that in which a processor adds. Single images come as near as by the
iterative stratification of Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data" (ECML PKDD
2011), and groups of many sizes nearer, as a choice that was made early can be undone. An image that is added to the
data, or taken away, moves few others: nearly all groups stay in the split in which their numbers begin.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, starmap

import numpy as np
import numpy.typing as npt

from pipeline.datasets.base import Split

_ORDER: tuple[Split, ...] = ("test", "val", "train")
_ALL = None  # stands beside the names of classes for all images
_MOST_DIGITS = 6  # of a share, after the point
_MOST_PAIRS = 1 << 21  # of groups that are tried for an exchange
_Weights = dict[str | None, int]


@dataclass(frozen=True)
class Group:
    """Images that stay together.

    Attributes:
        number: from 0 to 1, drawn for the group.
        name: no two groups have the same.
        images: how many there are.
        classes: how many of them have an object of each class. Images without an object may be a class of their own.
    """

    number: float
    name: str
    images: int
    classes: Mapping[str, int]


def stratified(groups: Sequence[Group], shares: Mapping[Split, float]) -> list[Split]:
    """The split of each group; the order of the groups changes nothing.

    Args:
        groups: to deal out.
        shares: of val and test, each above 0 and together below 1; the rest is train.

    Every split has a group where there are as many groups as splits. Every class has a group in train, as nothing can
    be learnt from the others, unless a split would have no group then.
    """
    order = sorted(range(len(groups)), key=lambda index: (groups[index].number, groups[index].name))
    dealing = _Dealing([groups[index] for index in order], shares)
    found = dict(zip(order, dealing.deal(), strict=True))
    return [found[index] for index in range(len(groups))]


class _Dealing:
    def __init__(self, groups: Sequence[Group], shares: Mapping[Split, float]) -> None:
        self._groups = groups
        totals: Counter[str | None] = Counter()
        for group in groups:
            totals.update(group.classes)
            totals[_ALL] += group.images
        self._shares = {split: shares.get(split, 0.0) for split in _ORDER}
        self._shares["train"] = 1 - sum(shares.values())
        self._splits = [split for split in _ORDER if self._shares[split] > 0]
        self._image, parts = _whole_shares(shares)
        self._weights, self._least_gain = self._whole_weights(totals)
        self._over = {split: {name: -parts[split] * count for name, count in totals.items()} for split in self._splits}
        self._count: Counter[Split] = Counter()
        self._in_train: Counter[str] = Counter()  # groups that have a class
        self._found = [self._first(group.number) for group in groups]
        for place, split in enumerate(self._found):
            self._put(place, split, 1)

    def deal(self) -> list[Split]:
        """The split of each group."""
        self._teach_every_class()
        self._fill_empty()
        while self._move_all() or self._exchange_all():
            pass
        return self._found

    def _whole_weights(self, totals: Mapping[str | None, int]) -> tuple[_Weights, int]:
        """The weights of classes and of all images, times a power of 2, and a gain of 2^-30 of the measure.

        The power is as high as the sums of `_exchange` allow. Its product of matrices is at most `most` times the power
        and stays below 2^53, up to which float64 holds whole numbers. Its result is at most `most` times 16 times the
        power times what an image counts, and stays below 2^62.
        """
        classes = sum(name is not _ALL for name in totals)
        root = math.isqrt(classes) + 1
        most = max((sum(group.classes.values()) + root * group.images for group in self._groups), default=1)
        bits = max(0, min(53, 58 - self._image.bit_length()) - most.bit_length())
        weights = {name: (1 << bits) // count for name, count in totals.items() if count}
        if totals[_ALL]:
            weights[_ALL] = math.isqrt(classes << 2 * bits) // totals[_ALL]
        return weights, (self._image << bits) >> 30

    def _move_all(self) -> bool:
        """Move each group that should be; whether one was."""
        moved = False
        for place in range(len(self._groups)):
            target = self._nearer(place)
            if target is not None:
                self._move(place, target)
                moved = True
        return moved

    def _exchange_all(self) -> bool:
        """Exchange two groups as long as that brings nearer, the best two first; whether any were."""
        exchanged = False
        while best := min(filter(None, starmap(self._exchange, combinations(self._splits, 2))), default=None):
            _, one, other = best
            splits = self._found[one], self._found[other]
            self._move(one, splits[1])
            self._move(other, splits[0])
            exchanged = True
        return exchanged

    def _exchange(self, one: Split, other: Split) -> tuple[int, int, int] | None:
        """The groups of two splits whose exchange brings all nearest to their shares, after what it changes.

        What a group v changes that goes from split a to b is, weighted, v (2 v + 2 over b - 2 over a). Another, u, that
        goes the other way at the same time changes as much less as 4 u v is.
        """
        here, there = (
            [place for place, own in enumerate(self._found) if own == split and not self._is_last_of_a_class(place)]
            for split in (one, other)
        )
        if not here or not there or len(here) * len(there) > _MOST_PAIRS:
            return None
        names = [*self._weights]
        weights = np.array([*self._weights.values()], np.int64)
        over = np.array([self._over[other][name] - self._over[one][name] for name in names], np.int64)
        ours, theirs = self._counts(here), self._counts(there)
        weighted = ours * weights
        product = weighted.astype(np.float64) @ theirs.T.astype(np.float64)  # exact, and much faster than of integers
        change = (2 * weighted * (self._image * ours + over)).sum(axis=1)[:, None]
        change = change + (2 * weights * theirs * (self._image * theirs - over)).sum(axis=1)
        change -= 4 * self._image * product.astype(np.int64)
        row, column = np.unravel_index(change.argmin(), change.shape)
        found = int(change[row, column])
        return (found, here[row], there[column]) if found < -self._least_gain else None

    def _counts(self, places: Sequence[int]) -> npt.NDArray[np.int64]:
        """(N, classes and all) images of each class in some groups."""
        columns = {name: column for column, name in enumerate(self._weights)}
        counts = np.zeros((len(places), len(columns)), np.int64)
        for row, place in enumerate(places):
            group = self._groups[place]
            counts[row, columns[_ALL]] = group.images
            for name, count in group.classes.items():
                counts[row, columns[name]] = count
        return counts

    def _first(self, number: float) -> Split:
        for split in self._splits:
            number -= self._shares[split]
            if number < 0:
                return split
        return "train"

    def _put(self, place: int, split: Split, sign: int) -> None:
        group, over, step = self._groups[place], self._over[split], sign * self._image
        over[_ALL] += step * group.images
        for name, count in group.classes.items():
            over[name] += step * count
            self._in_train[name] += sign * (split == "train")
        self._count[split] += sign

    def _move(self, place: int, split: Split) -> None:
        self._put(place, self._found[place], -1)
        self._found[place] = split
        self._put(place, split, 1)

    def _teach_every_class(self) -> None:
        for place in reversed(range(len(self._groups))):
            if any(not self._in_train[name] for name in self._groups[place].classes):
                self._move(place, "train")

    def _fill_empty(self) -> None:
        """Give a split without a group the smallest that can be spared, whose classes other groups have too."""
        for split in self._splits:
            spare = [place for place, own in enumerate(self._found) if self._count[own] > 1]
            if not self._count[split] and spare:
                self._move(
                    min(spare, key=lambda place: (self._is_last_of_a_class(place), self._groups[place].images, place)),
                    split,
                )

    def _is_last_of_a_class(self, place: int) -> bool:
        return self._found[place] == "train" and any(self._in_train[name] == 1 for name in self._groups[place].classes)

    def _nearer(self, place: int) -> Split | None:
        """The split to which a move of the group brings all nearest to their shares; None where its own is."""
        own = self._found[place]
        if self._count[own] == 1 or self._is_last_of_a_class(place):
            return None
        group = self._groups[place]
        counts = [(_ALL, group.images), *group.classes.items()]
        leaving = self._change(counts, own, -1)
        gains = [(leaving + self._change(counts, split, 1), split) for split in self._splits if split != own]
        change, target = min(gains, default=(0, own))
        return target if change < -self._least_gain else None

    def _change(self, counts: Sequence[tuple[str | None, int]], split: Split, sign: int) -> int:
        """What becomes of the measure where a group comes to a split, 1, or leaves it, -1."""
        over, weights, image = self._over[split], self._weights, self._image
        return sum(weights[name] * count * (image * count + 2 * sign * over[name]) for name, count in counts)


def _whole_shares(shares: Mapping[Split, float]) -> tuple[int, dict[Split, int]]:
    """A power of 10 that makes the shares whole numbers, or nearly so, and these, which sum to it."""
    image, parts = 1, dict[Split, int]()
    for digits in range(_MOST_DIGITS + 1):
        image = 10**digits
        parts = {split: round(share * image) for split, share in shares.items()}
        if all(parts[split] / image == share for split, share in shares.items()):
            break
    return image, {**parts, "train": image - sum(parts.values())}
