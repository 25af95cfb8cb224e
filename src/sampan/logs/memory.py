"""Memory for batches: what one has given back the next one takes.

glibc takes large pieces from the kernel and gives them back at once; the kernel then zeroes them page by page for each batch
of some megabytes, which is a fifth of the agent's CPU. So it is kept while there is work, and given back when there is none.
Source: mallopt(3), malloc_trim(3).
"""

from __future__ import annotations

from sampan.api.memory import M_MMAP_THRESHOLD, M_TOP_PAD, M_TRIM_THRESHOLD, libc_function, trim

KEPT_BYTES = 32 << 20
"""The most that glibc takes for a threshold."""
PAD_BYTES = 4 << 20


def keep() -> bool:
    """Have freed memory kept, up to ``KEPT_BYTES`` of it. Return whether the C library can do that."""
    mallopt = libc_function("mallopt")
    if mallopt is None:  # musl, macOS
        return False
    wanted = {M_MMAP_THRESHOLD: KEPT_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES, M_TOP_PAD: PAD_BYTES}
    done = [mallopt(option, size) for option, size in wanted.items()]
    return 0 not in done


def give_back() -> None:
    """Have the kernel take what is kept, if the C library can do that."""
    trim()
