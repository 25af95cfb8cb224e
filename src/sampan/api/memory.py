"""How a process of ours keeps memory: glibc gives back what was used for a moment only, and the collector leaves alone what
stays for good.

Left to itself, glibc raises its thresholds after the first large block that is freed, and then carves answers of megabytes
out of heaps that never shrink: lists of 10,000 objects left 28 MB behind. Source: mallopt(3).
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8
LARGE_BYTES = 512 * 1024
"""Blocks from this size on are mapped by themselves and go back when they are freed."""
KEPT_BYTES = 256 * 1024
"""What is free at the end of the heap is given back beyond this."""


def be_lean() -> None:
    """Set how malloc keeps memory, for this process and its forks; elsewhere than on glibc nothing."""
    mallopt = libc_function("mallopt")
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_ARENA_MAX, 1)  # threads of ours hardly ever allocate at the same time: the interpreter has a lock


def settle() -> None:
    """Take what exists now for what stays: free what is garbage, and keep the rest out of every later collection, so that
    forks go on sharing its pages."""
    gc.collect()
    gc.freeze()
    trim()


def trim() -> None:
    """Give back what is free between the blocks of the heap: milliseconds at most."""
    malloc_trim = libc_function("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def libc_function(name: str) -> Callable[..., int] | None:
    """Return a function of the C library, where it has it."""
    found: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    return found
