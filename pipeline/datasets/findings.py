"""What was wrong with the input, and the policy that says what is done about each kind of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pipeline.datasets.base import Finding
from pipeline.params.dataset import FindingPolicy
from pipeline.runtime.errors import InputError

# What an error says of an object, before the details.
_WORDS = {
    "non_finite": "a coordinate is not finite",
    "inverted": "the box is inverted",
    "zero_area": "the box has no area",
    "subpixel": "the box is smaller than a pixel",
    "outside_image": "the box sticks out of the image",
    "duplicate_box": "the box is there twice",
    "no_box": "it has no box",
}


class Findings:
    """The findings so far, as `rows`, and what the policy does with the next.

    Args:
        root: the data root, for the paths of errors.
        policy: `dataset.findings`.
    """

    def __init__(self, root: Path, policy: FindingPolicy) -> None:
        self.rows: list[Finding] = []
        self._root = root
        self._policy = policy

    def action(self, kind: str) -> str:
        """What the policy does with a kind: error, fix, drop, keep, ignore or allow."""
        action: str = getattr(self._policy, kind)
        return action

    def add(
        self, kind: str, file: str, index: int, detail: str, done: str, remedy: str = "correct it", count: int = 1
    ) -> None:
        """Record one finding, unless the policy allows it without a word.

        Args:
            kind: of `FindingPolicy`.
            file: path below the root.
            index: of the object in its file, -1 for the whole file.
            detail: what was found.
            done: what was done about it, in the past tense.
            remedy: what to do, for the error.
            count: of the objects that it is about, where there are several.

        Raises:
            InputError: the policy of this kind is error.
        """
        action = self.action(kind)
        if action == "error":
            others = [a for a in self._policy.allowed(kind) if a != "error"]
            if kind in _WORDS:
                detail = f"object {index}: {_WORDS[kind]} ({detail})"
            elif kind == "unknown_class":
                detail = f"object {index}: {detail}"
            raise InputError(
                f"{self._root / file}: {detail}; {remedy}, or set dataset.findings.{kind} to {' or '.join(others)}"
            )
        if action != "allow":
            self.rows.append(Finding(f"raw/{file}", index, kind, detail, done, count))


def count_findings(findings: Iterable[Finding]) -> dict[str, dict[str, int]]:
    """kind -> what was done -> of how many files or objects, both in alphabetical order."""
    found: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        found[finding.kind, finding.action] += finding.count
    counts: dict[str, dict[str, int]] = {}
    for (kind, action), count in sorted(found.items()):
        counts.setdefault(kind, {})[action] = count
    return counts


def summary(findings: Iterable[Finding]) -> list[str]:
    """One line a kind and action, such as "2 zero_area dropped", the most frequent first."""
    counts = [(n, kind, done) for kind, of_kind in count_findings(findings).items() for done, n in of_kind.items()]
    return [f"{count} {kind} {done}" for count, kind, done in sorted(counts, key=lambda row: (-row[0], row[1:]))]
