"""Other processors, played on this one: libraries choose their code by the processor, and can be told another."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

NUMPY_OFF = "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"
"""All that numpy can switch off at run time, for `NPY_DISABLE_CPU_FEATURES`; what is left every x86-64 has."""


def numpy_still_has(names: str) -> list[str]:
    """Which of the features numpy uses all the same. It ignores a name that it does not know without a word.

    Raises:
        KeyError: numpy knows no such feature.
    """
    from numpy._core._multiarray_umath import __cpu_features__

    return [name for name in names.split() if __cpu_features__[name]]


def tell_mkl(is_intel: bool) -> bool:
    """Have torch's MKL take this processor for one of Intel's, or for another's, before it computes anything.

    MKL chooses the code of roots, exponentials and logarithms by the maker, and no variable of the environment says
    otherwise. So the functions that ask the processor are overwritten in memory.

    Returns:
        False where this torch has no such functions or the system does not let them be written.
    """
    import torch

    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib/libtorch_cpu.so"))
    code = bytes([0xB8, is_intel, 0, 0, 0, 0xC3])  # mov eax, is_intel; ret
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    every_right = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    for name in ("mkl_serv_intel_cpu_true", "mkl_serv_intel_cpu"):
        try:
            address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
        except AttributeError:
            return False
        page = address & -mmap.PAGESIZE
        if protect(page, address + len(code) - page, every_right):
            return False
        ctypes.memmove(address, code, len(code))
    return True


def environment(**changes: str) -> dict[str, str]:
    """This process's environment with these changes, and without what another setting of the tests put into it."""
    own = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "NPY_DISABLE_CPU_FEATURES", "MKL_CBWR")
    return {name: value for name, value in os.environ.items() if name not in own} | changes
