"""What `frcnn check-data` prints."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.datasets.base import SPLITS, Finding
from pipeline.geometry.anchors import Floats
from pipeline.params.dataset import DatasetParams
from pipeline.params.reading import Params
from pipeline.preflight.collecting import Checked
from pipeline.preflight.size_check import SizeCheck
from pipeline.runtime.words import count_text

_EXAMPLES = 3
_NUMBERS_AND_NAMES = re.compile(r"'[^']*'|[0-9]+")  # what differs between messages of one kind
_MOST_CLASSES = 30
_MOST_NAMES = 12
_LARGEST = 3
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def report(
    root: Path, checked: Checked, params: Params, sizes: SizeCheck, source: str, later: Sequence[str]
) -> Iterator[str]:
    """All lines except the last, which is `ending`.

    Args:
        root: the data root.
        checked: what was read.
        params: sections dataset and resize of them are reported on.
        sizes: what compares box sizes with what the detector predicts.
        source: where the parameters are from.
        later: what stages of training or evaluation would refuse.
    """
    yield f"{root}: reader {params.dataset.reader}, parameters of {source}"
    yield from _counts(checked)
    yield from checked.remarks
    yield from sizes.remarks()
    yield from _findings(checked, params.dataset)
    yield from _faults(root, checked)
    if later:
        yield from ("", "training or evaluation would stop")
        yield from (f"  {line}" for line in later)
    if not len(checked.gt.of("train")):
        yield from ("", "train has no box to learn from, so sizes are not reported")
        return
    yield from _sizes(checked.gt.of("train").shapes, params)
    yield from sizes.lines()


def ending(
    checked: Checked, dataset: DatasetParams, later: Sequence[str] = (), prepares: Sequence[str] = ("dataset", "resize")
) -> str:
    """The last line: whether anything would stop a run, and what to do about it. `prepares` are the stages before
    training."""
    if not checked.stops:
        quick = "" if checked.decoded else "; images were not decoded, and damage inside one would stop resize"
        if later:
            stages = f"{', '.join(prepares[:-1])} and {prepares[-1]}"
            return f"{stages} would run, a later stage would stop: see above{quick}"
        return f"nothing here would stop a run{quick}"
    remedies = ["fix what cannot be read"] * bool(checked.faults) + checked.lacking
    if checked.stopping:
        changes = [
            f"dataset.findings.{kind} to {' or '.join(a for a in dataset.findings.allowed(kind) if a != 'error')}"
            for kind in checked.stopping
        ]
        remedies.append(f"for the others, correct the data or set {', '.join(changes)}")
        remedies[-1] = remedies[-1] if len(remedies) > 1 else remedies[-1].removeprefix("for the others, ")
    found = count_text(checked.stops, "finding")
    return f"{found} would stop the run: {'; '.join(remedies)}"


def _counts(checked: Checked) -> Iterator[str]:
    rows: list[tuple[str, Sequence[object]]] = [
        ("images", [checked.images[split] for split in SPLITS]),
        ("  without an object", [checked.without_objects[split] for split in SPLITS]),
        ("boxes", [len(checked.gt.of(split)) for split in SPLITS]),
    ]
    counts = {
        name: [checked.count(label, split) for split in SPLITS] for label, name in enumerate(checked.classes, start=1)
    }
    shown = sorted(counts, key=lambda name: -sum(counts[name]))[:_MOST_CLASSES]
    rows += [(f"  {name}", counts[name]) for name in shown]
    rest = [own for name, own in counts.items() if name not in shown]
    if rest:
        rows.append((f"  {len(rest)} more classes", [sum(column) for column in zip(*rest, strict=True)]))
    others = ~checked.gt.trainable
    rows.append(
        (
            "not trained on (difficult, crowd, ignored)",
            [int((others & (checked.gt.splits == index)).sum()) for index in range(len(SPLITS))],
        )
    )
    yield from table_lines(SPLITS, rows)
    for line in checked.lacking:
        yield f"  {line}: this would stop the run"
    for split, line in checked.without_boxes.items():
        if split != "train":
            yield f"  {line}: it has no AP"
    for split, index in (("train", 0), ("test", 2)):
        absent = [name for name, own in counts.items() if own[index] == 0]
        if absent and checked.images["train" if index == 0 else "test"]:
            names = ", ".join(absent[:_MOST_NAMES]) + (", ..." if len(absent) > _MOST_NAMES else "")
            what = "cannot be learnt" if split == "train" else "cannot be judged"
            yield f"  without a box in {split}, so {what}: {len(absent)} of {len(counts)} classes ({names})"


def _findings(checked: Checked, dataset: DatasetParams) -> Iterator[str]:
    yield ""
    if not checked.findings:
        yield "findings: none"
        return
    yield "findings, and what dataset.findings does with them"
    by_kind: dict[str, list[Finding]] = {}
    for finding in checked.findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    # First what would stop a run, then the most frequent.
    counts = {kind: sum(finding.count for finding in found) for kind, found in by_kind.items()}
    for kind in sorted(by_kind, key=lambda kind: (kind not in checked.stopping, -counts[kind], kind)):
        policy = str(getattr(dataset.findings, kind))
        done = "error: would stop the run" if policy == "error" else policy
        yield f"  {counts[kind]} {kind} ({done})"
        for finding in by_kind[kind][:_EXAMPLES]:
            place = "" if finding.object < 0 else f", object {finding.object}"
            yield f"    {finding.file.removeprefix('raw/')}{place}: {finding.detail}"
        if len(by_kind[kind]) > _EXAMPLES:
            yield "    ..."


def _faults(root: Path, checked: Checked) -> Iterator[str]:
    """What no policy covers: of each kind the first few, the others counted."""
    if checked.faults:
        yield from ("", "cannot be read, whatever dataset.findings says; each would stop the run")
    by_kind: dict[str, list[str]] = {}
    for line in checked.faults:
        fault = line.removeprefix(f"{root}/")
        by_kind.setdefault(_NUMBERS_AND_NAMES.sub("", fault.partition(": ")[2] or fault), []).append(fault)
    for lines in by_kind.values():
        yield from (f"  {line}" for line in lines[:_EXAMPLES])
        if len(lines) > _EXAMPLES:
            yield f"    and {len(lines) - _EXAMPLES} more of this kind"


def _sizes(shapes: Floats, params: Params) -> Iterator[str]:
    resize = params.resize
    rule = (
        f"{resize.fixed_width} x {resize.fixed_height}"
        if resize.rule == "fixed"
        else f"shorter side {resize.shorter_side}, longer at most {resize.longer_side}"
    )
    yield from ("", f"boxes of train, px of the resized images ({rule})")
    width, height = shapes[:, 0], shapes[:, 1]
    area = width * height
    rows: list[tuple[str, Sequence[object]]] = []
    for name, values, digits in (
        ("  width", width, 0),
        ("  height", height, 0),
        ("  square root of area", np.sqrt(area), 0),
        ("  ratio, height over width", height / width, 2),
    ):
        rows.append((name, [f"{value:.{digits}f}" for value in np.quantile(values, QUANTILES)]))
    yield from table_lines([f"{q:.0%}" for q in QUANTILES], rows)
    largest = np.argsort(-area, kind="stable")[:_LARGEST]
    yield f"  largest: {', '.join(f'{width[i]:.0f} x {height[i]:.0f}' for i in largest)}"


def table_lines(header: Sequence[object], rows: Sequence[tuple[str, Sequence[object]]]) -> Iterator[str]:
    """A table with a name before each row and the columns to the right."""
    first = max(len(name) for name, _ in rows)
    cells = [header, *(row for _, row in rows)]
    widths = [max(len(str(row[column])) for row in cells) for column in range(len(header))]
    for name, row in [("", header), *rows]:
        numbers = "  ".join(f"{cell!s:>{width}}" for cell, width in zip(row, widths, strict=True))
        yield f"{name:<{first}}  {numbers}"
