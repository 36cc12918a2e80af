"""Read spoiled annotations of every format under limits: python -m tests.faults.annotation_fuzzer FIRST COUNT FOLDER.

Each case ends in images or in one line of `InputError`, or the process fails; see tests/faults/limits.py.
"""

from __future__ import annotations

import random
import re
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from pipeline.datasets.file_names import printable
from pipeline.params.dataset import FindingPolicy
from pipeline.runtime.errors import InputError
from tests.faults.limits import begin, limit_memory, peak
from tests.faults.trees import KINDS, annotation_files, plant, read

_WORDS = [
    *("nan", "-1", "1e309", "-inf", "0", "1e-320", "", " ", "null", "true", "[]", "{}", '"', "'", "<", ">", "&x;"),
    *("999999999999999999999", "\0", "\ud7ff", "../", "/", "\n", "\r\n", ",", ";", "-", ".5", "0x10", "1_0", "\ufeff"),
]


def spoil(rng: random.Random, text: bytes) -> bytes:
    """One to four edits: bytes flipped, numbers or words replaced, parts cut, repeated or moved."""
    for _ in range(rng.randint(1, 4)):
        start, length = rng.randrange(len(text) + 1), rng.choice((1, 1, 3, 10, 60))
        part = text[start : start + length]
        word = rng.choice(_WORDS).encode()
        match rng.randrange(7):
            case 0:
                text = text[:start] + bytes(rng.randrange(256) for _ in part) + text[start + length :]
            case 1:
                text = text[:start] + text[start + length :]
            case 2:
                text = text[:start] + part * rng.choice((2, 3, 50)) + text[start + length :]
            case 3:
                text = text[:start] + word + text[start:]
            case 4 | 5:  # structure stays, so that the checks behind the parser are reached
                tokens = [found.span() for found in re.finditer(rb"-?[0-9][0-9.]*|[A-Za-z_]+", text)]
                if tokens:
                    left, right = rng.choice(tokens)
                    text = text[:left] + word + text[right:]
            case _:
                text = text[start:] + text[:start] if rng.random() < 0.3 else text[:start]
    return text


def one_case(number: int, root: Path) -> str:
    """Spoil a file of the planted trees, read, and put it back; what came of it."""
    rng = random.Random(number)
    kind = KINDS[number % len(KINDS)]
    path = root / kind / rng.choice(annotation_files(kind))
    sound = path.read_bytes()
    actions = {name: rng.choice(FindingPolicy.allowed(name)) for name in FindingPolicy.model_fields}
    try:
        path.write_bytes(spoil(rng, sound))
        images, findings = read(kind, root / kind, **actions)
    except InputError as error:
        assert printable(str(error)) == str(error), f"case {number}: {error!r}"
        return "error"
    finally:
        path.write_bytes(sound)
    for image in images:
        boxes = image.boxes
        assert boxes.dtype == np.float32 and np.isfinite(boxes).all(), f"case {number}"
        assert (boxes >= 0).all() and (boxes <= [image.width, image.height] * 2).all(), f"case {number}"
        assert (boxes[:, 2:] > boxes[:, :2]).all(), f"case {number}"
        assert len(image.labels) == len(image.difficult) == len(image.iscrowd) == len(boxes), f"case {number}"
    return "findings" if findings else "sound"


def main(first: int, count: int, root: Path) -> None:
    """Check the cases first to first + count - 1."""
    for kind in KINDS:
        read(kind, plant(kind, root / kind))  # what libraries load and start once is no case's fault
    limit_memory()
    warnings.simplefilter("error")
    outcomes: Counter[str] = Counter()
    for case in range(first, first + count):
        begin(case)
        outcomes[one_case(case, root)] += 1
    told = ", ".join(f"{outcomes[outcome]} {outcome}" for outcome in ("error", "findings", "sound"))
    print(f"{told}, peak {peak() >> 20} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
