"""Memory allocation of the process."""

from __future__ import annotations

import ctypes

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Have malloc reuse large blocks instead of returning them to the kernel.

    Every activation of a batch is a large block; getting each anew costs more in page faults than small convolutions
    take to compute (a tiny trunk's forward pass ran 4 times as long). Where there is no glibc, nothing changes.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
    except (OSError, AttributeError):
        pass
