"""What is read off the processor: /proc/cpuinfo's flags, held down by ONEDNN_MAX_CPU_ISA."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.nn import processor

XEON = "avx2 avx512f avx512_bf16 amx_bf16 amx_tile"
EPYC = "avx2 avx512f avx512_bf16"
OLD = "avx2 fma"


@pytest.fixture(autouse=True)
def no_other_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("flags", "cap", "bf16", "amx"),
    [
        (XEON, "", True, True),
        (XEON, "ALL", True, True),
        (XEON, "avx512_core_amx", True, True),
        (XEON, "AVX512_CORE_BF16", True, False),
        (XEON, "AVX512_CORE", False, False),
        (XEON, "AVX2", False, False),
        (EPYC, "", True, False),
        (EPYC, "AVX2_VNNI_2", False, False),
        (EPYC, "AVX10_1_512", True, False),
        (EPYC, "AVX512_CORE_AMX", True, False),
        (OLD, "", False, False),
    ],
)
def test_flags_and_cap(
    flags: str, cap: str, bf16: bool, amx: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\nbugs\t:\n", encoding="ascii")
    monkeypatch.setattr(processor, "CPU_INFO", info)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", cap)
    assert (processor.has_bf16(), processor.has_amx()) == (bf16, amx)


def test_the_older_name_counts_where_the_newer_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"flags\t\t: {XEON}\n", encoding="ascii")
    monkeypatch.setattr(processor, "CPU_INFO", info)
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "AVX512_CORE_BF16")
    assert processor.has_bf16() and not processor.has_amx()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_AMX")
    assert processor.has_amx()


def test_without_cpuinfo_nothing_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "none")
    assert not processor.has_bf16() and not processor.has_amx()
