"""What `benchmarks.equal_time` has found: which learning rate is a peer's best, the tables, the bars."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.dense_peer import TITLES as KINDS
from benchmarks.page import Row
from benchmarks.pieces import Pieces, Record
from pipeline.params.reading import Params

MARGINS, LONGEST = {"faster_rcnn": 0.03}, 720.0
"""How far our mAP50 is to lie above the peer's, 0 of other families, and how many seconds ours may take."""

MISSED = {"voc6_vgg16": 0.38}
"""How much of the mAP50 ours may miss in the mean, by preset."""

TITLES = {"shipped": "torchvision as shipped", "same": "torchvision, same precision"}
_FIGURES = ("mAP50", "AP")
_ABOUT = """
mAP at IoU .5 and COCO's AP on the {split} images of {data} after the same wall time (preset `{preset}`,
{threads} threads). {ours} Peer: torchvision's {kind}, trained from the same weights on the same resized images,
with the same layers frozen, for {seconds}.
{peer}
"""
_OURS_STEPS = """Ours: the four steps and the joint one with all stages between them, targets and the maps of the frozen
layers included; of its two networks the better by mAP50 counts. The peer is trained jointly."""
_OURS_DENSE = "Ours: targets and training."
_OF_TORCHVISION = """
It is torchvision's own in all else: neck, anchors or points, heads, matching, SGD with momentum .9 and weight decay
.0001, two images an iteration, mirrored by chance, warm-up as in its references but over a tenth of the time at most.
The learning rate falls linearly to 0 at the end of the time, as ours does, for each candidate alike. *As shipped* is
float32; *same precision* has our {precision}, channels_last and fused SGD, its boxes being kept in float32. Of each the
best of the learning rates that were tried at one seed ({lrs}) is taken for all.
"""
_OF_OTHERS = """
It has our trunk, anchors, samples, precision and solver. Learning rate: {lrs}.
"""


@dataclass(frozen=True)
class Comparison:
    """Finished pieces, and what they are asked for.

    Attributes:
        kinds: of peers, the one that the bars are of first. lrs: learning rates that are tried with each.
        seconds: of the peers' training; None: what our run of the same seed took.
    """

    pieces: Pieces
    kinds: Sequence[str]
    lrs: Sequence[float]
    seconds: float | None = None

    def ours(self, seed: int) -> Record | None:
        """Our run of a seed."""
        return self.pieces.get(ours_name(seed))

    def budget(self, seed: int) -> float | None:
        """The seconds of a peer's training; None where that is not known yet."""
        if self.seconds is not None:
            return self.seconds
        ours = self.ours(seed)
        return None if ours is None else float(round(ours["seconds"]))

    def peer(self, kind: str, lr: float, seed: int) -> Record | None:
        """A peer's run."""
        budget = self.budget(seed)
        return None if budget is None else self.pieces.get(peer_name(kind, lr, seed, budget))

    def trial(self, kind: str, seeds: Sequence[int]) -> int | None:
        """The seed at which all learning rates are tried with a peer: the least at which they have been, or else the
        first of `seeds`."""
        tried = [seed for seed in self.seeds() if all(self.peer(kind, lr, seed) for lr in self.lrs)]
        return min(tried) if tried else next(iter(seeds), None)

    def best_lr(self, kind: str, trial: int | None) -> float | None:
        """The learning rate of the best mAP50 at the seed where all are tried; None where one is missing."""
        if trial is None:
            return None
        runs = {lr: self.peer(kind, lr, trial) for lr in self.lrs}
        if any(run is None for run in runs.values()):
            return None
        return max(self.lrs, key=lambda lr: runs[lr]["mAP50"])  # type: ignore[index]

    def wanted_lrs(self, kind: str, seed: int, seeds: Sequence[int]) -> Sequence[float]:
        """The learning rates to run a peer with at one of the `seeds`."""
        trial = self.trial(kind, seeds)
        best = self.best_lr(kind, trial)
        return self.lrs if seed == trial or best is None else [best]

    def chosen(self, kind: str, seed: int) -> Record | None:
        """A peer's run of a seed at its best learning rate."""
        lr = self.best_lr(kind, self.trial(kind, ()))
        return None if lr is None else self.peer(kind, lr, seed)

    def seeds(self) -> list[int]:
        """All seeds that have a piece."""
        return sorted({record["seed"] for record in self.pieces.values()})

    def pairs(self, kind: str) -> list[tuple[Record, Record]]:
        """Our better network and the peer's of each seed that both have run."""
        runs = [(self.ours(seed), self.chosen(kind, seed)) for seed in self.seeds()]
        return [(better(ours), peer) for ours, peer in runs if ours and peer]


def ours_name(seed: int) -> str:
    """Of the piece that our run of a seed is."""
    return f"ours, seed {seed}"


def peer_name(kind: str, lr: float, seed: int, seconds: float) -> str:
    """Of the piece that a peer's run is."""
    return f"{kind}, lr {lr:g}, seed {seed}, {seconds:g} s"


def better(ours: Record) -> dict[str, Any]:
    """The figures of our better network by mAP50, and its name."""
    name = max(networks_of(ours), key=lambda network: ours[network]["mAP50"])
    return {"network": name, **ours[name]}


def networks_of(ours: Record) -> list[str]:
    """The networks that a record of ours has figures of."""
    return [name for name, value in ours.items() if isinstance(value, dict)]


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and its standard error; None of a single value."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return statistics.mean(values), error


def tables(comparison: Comparison) -> str:
    """All runs seed by seed, the learning rates that were tried, and the differences over the seeds."""
    parts = [_runs(comparison), _trials(comparison), _differences(comparison)]
    return "\n\n".join("\n".join(f"| {' | '.join(cells)} |" for cells in rows) for rows in parts if len(rows) > 2)


def _runs(comparison: Comparison) -> list[list[str]]:
    lines = [["seed", "network", "mAP50", "AP", "learning rate", "seconds", "images"], ["---"] * 7]
    for seed in comparison.seeds():
        if ours := comparison.ours(seed):
            for name in networks_of(ours):
                title = "ours, step 4" if name == "step4" else f"ours, {name}"
                lines.append([str(seed), title, *_figures(ours[name]), "", f"{ours['seconds']:.0f}", ""])
        for kind in comparison.kinds:
            if peer := comparison.chosen(kind, seed):
                spent = [f"{peer['lr']:g}", f"{peer['seconds']:.0f}", f"{peer['images']:,.0f}"]
                lines.append([str(seed), TITLES[kind], *_figures(peer), *spent])
    return lines


def _trials(comparison: Comparison) -> list[list[str]]:
    lines = [["tried", "seed", "learning rate", "mAP50", "AP"], ["---"] * 5]
    for kind in comparison.kinds:
        seed = comparison.trial(kind, ())
        if seed is not None and len(comparison.lrs) > 1:
            for lr in comparison.lrs:
                run = comparison.peer(kind, lr, seed)
                lines.append([TITLES[kind], str(seed), f"{lr:g}", *_figures(run or {})])
    return lines


def _differences(comparison: Comparison) -> list[list[str]]:
    lines = [["ours, the better network, less", "seeds", *_FIGURES], ["---"] * 4]
    for kind in comparison.kinds:
        if pairs := comparison.pairs(kind):
            lines.append([TITLES[kind], str(len(pairs)), *(_difference_text(pairs, name) for name in _FIGURES)])
    return lines


def _difference_text(pairs: Sequence[tuple[Record, Record]], name: str) -> str:
    mean, error = mean_and_error([ours[name] - peer[name] for ours, peer in pairs])
    return f"{mean:+z.3f}" + ("" if error is None else f" (standard error {error:.3f})")


def _figures(run: Record) -> list[str]:
    if run.get("diverged"):
        return ["0 (diverged)", "0"]
    return [f"{run[name]:.3f}" if name in run else "" for name in _FIGURES]


def bars(comparison: Comparison, preset: str, family: str = "faster_rcnn") -> list[Row]:
    """The bars of a preset of our `family`, held against the first kind of peer. A figure of the peer's less ours, as
    smaller is better there.
    """
    rows = []
    longest = [ours["seconds"] for seed in comparison.seeds() if (ours := comparison.ours(seed))]
    if pairs := comparison.pairs(comparison.kinds[0]):
        title = TITLES[comparison.kinds[0]]
        for name, bar in (("mAP50", -MARGINS.get(family, 0.0)), ("AP", 0.0)):
            lead = statistics.mean(ours[name] - peer[name] for ours, peer in pairs)
            rows.append(Row(f"mean {name} of {title}, less ours", [-lead], bar=bar, unit=""))
    if longest and preset in MISSED:
        missed = [1 - better(ours)["mAP50"] for seed in comparison.seeds() if (ours := comparison.ours(seed))]
        rows.append(Row("mean of the mAP50 missed, ours", [statistics.mean(missed)], bar=MISSED[preset], unit=""))
    if longest:
        rows.append(Row("our longest run", [max(longest)], bar=LONGEST, unit="s"))
    return rows


def about(comparison: Comparison, params: Params, preset: str, data: str) -> str:
    """What is compared, in Markdown.

    Args:
        params: of our side. preset: its name and changes. data: name of the data set.
    """
    lrs = ", ".join(f"{lr:g}" for lr in comparison.lrs)
    is_dense = params.family in KINDS
    of_peer = _OF_TORCHVISION if is_dense or params.backbone.name.startswith("resnet") else _OF_OTHERS
    return _ABOUT.format(
        split=params.evaluate.split,
        data=data,
        preset=preset,
        threads=params.base.threads,
        ours=_OURS_DENSE if is_dense else _OURS_STEPS,
        kind=KINDS.get(params.family, "FasterRCNN"),
        seconds="as long as ours took" if comparison.seconds is None else f"{comparison.seconds:g} seconds",
        peer=of_peer.format(lrs=lrs, precision=params.base.precision).strip(),
    )
