"""Decisions at a threshold are the same on every processor, though libraries choose their code by it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.decisions import digests, layers_are_torchs
from tests.portable import is_numeric
from tests.processors import NUMPY_OFF, environment, numpy_still_has


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What `decisions.py` says as on a processor without AVX, and as on one of Intel's without AVX-512."""
    without = "X86_V4 AVX512_ICL AVX512_SPR"
    played = {
        "other": environment(
            ATEN_CPU_CAPABILITY="default", ONEDNN_MAX_CPU_ISA="SSE41", NPY_DISABLE_CPU_FEATURES=NUMPY_OFF
        ),
        "intel": environment(ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", NPY_DISABLE_CPU_FEATURES=without),
    }
    running = {
        maker: subprocess.Popen(
            [sys.executable, str(ROOT / "tests/decisions.py"), maker], env=own, stdout=subprocess.PIPE, text=True
        )
        for maker, own in played.items()
    }
    return {maker: json.loads(process.communicate()[0]) for maker, process in running.items()}


def test_layers_compute_in_bf16_and_float32_what_torchs_own_do(told: dict[str, Any]) -> None:
    """Without AVX-512 oneDNN refuses bf16, in which the default graph computes."""
    assert layers_are_torchs() == {"float32": True, "bf16": True}
    assert [answer["layers are torch's"] for answer in told.values()] == [{"float32": True, "bf16": True}] * 2


def test_decisions_at_a_threshold_do_not_depend_on_the_processor(told: dict[str, Any]) -> None:
    """All have the same bytes as here."""
    here = digests()
    for maker, answer in told.items():
        assert answer["numpy still has"] == [], maker
        assert {name for name, digest in here.items() if answer["decisions"][name] != digest} == set(), maker
    assert told["other"]["torch uses"] == "DEFAULT"
    if not all(answer["MKL is told"] for answer in told.values()):
        pytest.skip("this torch's MKL cannot be told of another processor")
    # What decisions must not be made of: were these alike, the test could not tell.
    assert told["other"]["roots"] != told["intel"]["roots"]


@pytest.mark.parametrize(
    ("test", "is_of_numbers"),
    [
        ("nn/test_boxes.py", True),
        ("datasets/test_coco.py", True),  # through a module of the project
        ("orchestrate/test_ablations.py", True),  # compares floats without either library
        ("orchestrate/test_slots.py", False),
        ("runtime/test_surroundings.py", False),
    ],
)
def test_portable_runs_the_tests_that_reach_a_library_of_numbers(test: str, is_of_numbers: bool) -> None:
    assert is_numeric(ROOT / "tests" / test) == is_of_numbers


def test_numpy_is_asked_whether_a_feature_is_off() -> None:
    assert numpy_still_has("X86_V2") == ["X86_V2"]  # the least that it runs on
    with pytest.raises(KeyError):
        numpy_still_has("X86_V2 AVX512F_OLD")
