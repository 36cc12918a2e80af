"""What this machine's processor computes fast, from its features alone: no stopwatch, so that equal machines choose
alike. Needs no torch.

oneDNN computes torch's convolutions and products of matrices on a CPU. ONEDNN_MAX_CPU_ISA, or where it is not set
DNNL_MAX_CPU_ISA, may hold it below the processor's features; that counts here too.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
_CAPS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")


def has_bf16() -> bool:
    """Whether products in bf16 run in instructions of their own; elsewhere bf16 takes 3 to 40 times as long as float32
    (docs/performance.md)."""
    return _has("avx512_bf16", r"AVX512_CORE_(BF16|FP16|AMX)|AVX10") or has_amx()


def has_amx() -> bool:
    """Whether bf16 products run on AMX's tiles."""
    return _has("amx_bf16", r"AMX")


def _has(feature: str, admitted: str) -> bool:
    cap = next((os.environ[name] for name in _CAPS if os.environ.get(name)), "").upper()
    return feature in _features(CPU_INFO) and (cap in ("", "ALL", "DEFAULT") or re.search(admitted, cap) is not None)


@cache
def _features(cpu_info: Path) -> frozenset[str]:
    """The flags that Linux lists for the first processor; empty if it lists none."""
    try:
        with cpu_info.open(encoding="ascii", errors="replace") as lines:
            return next(
                (frozenset(line.split(":", 1)[1].split()) for line in lines if line.startswith("flags")), frozenset()
            )
    except OSError:
        return frozenset()
