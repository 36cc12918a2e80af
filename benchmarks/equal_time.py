"""Whose detector is better after the same wall time? Ours by a preset, torchvision's of the same kind beside it.

    python -m benchmarks.equal_time --preset voc6_resnet50_fpn --seeds 0 1 2
    python -m benchmarks.equal_time --preset voc6_retinanet_resnet18 --seeds 0 1 2

For each seed the preset runs in a scratch copy of the project's last commit, and then torchvision's trains as long as
ours took, on the same resized images, from the same weights, with the same layers frozen. Both are judged by the same
evaluation. The peer is torchvision's own class, of Faster R-CNN that on a ResNet with FPN, and is trained twice:
`shipped`, as torchvision's references train it, and `same`, in our precision and layout. Of Faster R-CNN on VGG16 and
on the tiny trunk it is one network on our trunk, in our precision, with our anchors (`same`). At the first seed each
peer is trained with all learning rates, at the others with the best of them by mAP50.

Nothing needs attention, and any number of starts add up: each finished run is written at once to
.dvc/tmp/equal_time-PRESET.json and not repeated. Our run that was cut short starts anew, as its time would be wrong. At
the end the section of docs/performance.md is written from all that is finished.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import torch

from benchmarks.equal_time_page import TITLES, Comparison, about, bars, ours_name, peer_name, tables
from benchmarks.equal_time_task import Task, task_of
from benchmarks.our_run import ROOT, Scratch, commit
from benchmarks.page import table, write_section
from benchmarks.peer_run import measure_peer
from benchmarks.pieces import Pieces, Record
from pipeline.runtime.errors import InputError
from pipeline.runtime.stopping import Stopped, handle_signals

NAME, DEFAULT = "equal_time", "voc6_vgg16"
KEPT = ROOT / ".dvc" / "tmp"
LRS = {
    "faster_rcnn": (0.0025, 0.005, 0.01),
    "retinanet": (0.00125, 0.0025, 0.005),
    "fcos": (0.00125, 0.0025, 0.005),
    "ssd": (0.0005, 0.001, 0.002),
}
"""Of torchvision's classes, by our family: its references' for two images, and what lies around it."""

OTHER_LRS = (0.008,)
"""Of the peer on our trunk."""

_DRY_SECONDS = 3.0


class Copy:
    """The scratch copy of a seed, made when it is first asked for."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch, self._is_made, self._is_prepared = scratch, False, False

    def fresh(self) -> Scratch:
        """Made anew."""
        self._scratch.make()
        self._is_made, self._is_prepared = True, False
        return self._scratch

    def prepared(self) -> Path:
        """With what a peer reads."""
        if not self._is_prepared:
            (self._scratch if self._is_made else self.fresh()).prepare()
            self._is_prepared = True
        return self._scratch.root


def compare(
    task: Task, comparison: Comparison, seeds: Sequence[int], only: str | None = None, keep: Path | None = None
) -> list[str]:
    """Run what is not finished.

    Returns:
        What has failed, in lines. The rest has run all the same.
    """
    failed = []
    for seed in seeds:
        with _copy(task, keep, seed) as copy:
            for side, work in (("ours", _ours), ("peers", partial(_peers, seeds=seeds))):
                if only not in (None, side):
                    continue
                try:
                    work(copy, comparison, seed)
                except InputError as error:
                    failed.append(f"seed {seed}: {error}")
                    print(failed[-1], flush=True)
    return failed


@contextmanager
def _copy(task: Task, keep: Path | None, seed: int) -> Iterator[Copy]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() if keep is None else nullcontext(keep.resolve()) as folder:
        yield Copy(task.scratch(Path(folder), seed))


def _ours(copy: Copy, comparison: Comparison, seed: int) -> None:
    def work() -> Record:
        return {"side": "ours", "seed": seed, "commit": commit(), **copy.fresh().run()}

    _finish(comparison.pieces, ours_name(seed), work)


def _peers(copy: Copy, comparison: Comparison, seed: int, seeds: Sequence[int]) -> None:
    seconds = comparison.budget(seed)
    if seconds is None:
        raise InputError("a peer trains as long as ours took, which is not known; run ours too, or give --seconds")

    def work(kind: str, lr: float) -> Record:
        figures = measure_peer(copy.prepared(), kind, seconds, lr, seed)
        return {"side": kind, "seed": seed, "lr": lr, **figures}

    for kind in comparison.kinds:
        for lr in comparison.wanted_lrs(kind, seed, seeds):
            _finish(comparison.pieces, peer_name(kind, lr, seed, seconds), partial(work, kind, lr))


def _finish(pieces: Pieces, name: str, work: Callable[[], Record]) -> None:
    before = name in pieces
    if not before:
        print(f"{name}: begins", flush=True)
    record = pieces.done(name, work)
    print(f"{name}, finished{' before' if before else ''}: {json.dumps(record)}", flush=True)


def run(arguments: argparse.Namespace) -> list[str]:
    """Compare, and write the section.

    Returns:
        What has failed, in lines.

    Raises:
        InputError: the command line asks for what there is not, or the file of finished pieces is damaged.
    """
    task = task_of(arguments)
    kinds = arguments.peers or (["shipped", "same"] if task.is_torchvisions else ["same"])
    if "shipped" in kinds and not task.is_torchvisions:
        raise InputError(f"--peers shipped: there is none of {task.params.backbone.name}; leave --peers out")
    seeds = arguments.seeds if arguments.seeds is not None else [0] if task.dry else [0, 1, 2]
    pieces = Pieces(KEPT / f"{NAME}-{task.preset}.json", task.digest)
    if pieces.of_others and not pieces:
        print(f"{pieces.path}: all in it is of other parameters, data or another machine; starting anew", flush=True)
    seconds = arguments.seconds or (_DRY_SECONDS if task.dry else None)
    comparison = Comparison(pieces, kinds, arguments.lrs or _lrs(task), seconds)
    failed = compare(task, comparison, seeds, arguments.only, arguments.keep)
    _report(task, comparison)
    return failed


def _lrs(task: Task) -> Sequence[float]:
    return LRS[task.params.family] if task.is_torchvisions else OTHER_LRS


def _report(task: Task, comparison: Comparison) -> None:
    rows = bars(comparison, task.preset, task.params.family)
    torch.set_num_threads(task.params.base.threads)
    data = "the generated shapes" if task.photos is None else task.photos.name
    own = " ".join([task.preset, *task.settings])
    text = f"{about(comparison, task.params, own, data).strip()}\n\n{tables(comparison)}"
    if task.dry or not comparison.pairs(comparison.kinds[0]):
        print(f"\n{text}\n\n{table(rows)}", flush=True)
        if not task.dry:
            print(f"no section is written yet: no seed has both ours and {TITLES[comparison.kinds[0]]}", flush=True)
        return
    words = [f"--preset {task.preset}", *(["--set", *task.settings] if task.settings else [])]
    options = "" if own == DEFAULT else " ".join(words)
    title = "Accuracy after the same wall time" + ("" if own == DEFAULT else f", {own}")
    write_section(NAME, title, text, rows, options=options)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--preset", default=DEFAULT, help="of a family that torchvision has; default: %(default)s")
    own.add_argument("--seeds", type=int, nargs="*", help="default: 0 1 2; none: only write the section anew")
    own.add_argument("--peers", nargs="+", choices=list(TITLES), help="default: all that the backbone has")
    own.add_argument("--lrs", type=float, nargs="+", help="of the peers; default: three by the family")
    own.add_argument("--seconds", type=float, help="wall time of a peer's training; default: what ours took")
    own.add_argument("--only", choices=("ours", "peers"), help="run one side only")
    own.add_argument("--set", nargs="+", default=[], metavar="SECTION.KEY=VALUE", help="changes to the preset")
    own.add_argument("--photos", type=Path, help="the data set; default: the preset's in ../shared/data")
    own.add_argument("--weights", type=Path, help="of the trunk, a file or its folder; default: from ../shared/weights")
    own.add_argument("--keep", type=Path, help="a folder in which our runs stay, each in PRESET-seedN")
    own.add_argument("--dry-run", action="store_true", help="a few iterations on a few images; no section is written")
    return own


def main() -> None:
    handle_signals()
    try:
        failed = run(parser().parse_args())
    except InputError as error:
        sys.exit(f"{NAME}: {error}")
    except Stopped as stopped:
        print(f"{NAME}: {stopped}; what is finished is kept, start again for the rest", file=sys.stderr)
        sys.exit(stopped.status)
    sys.exit(f"{NAME}: not finished: {'; '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
