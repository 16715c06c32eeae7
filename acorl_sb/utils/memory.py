"""The C library's memory pools, tuned for training and embedding on a CPU.

Another allocator (jemalloc, tcmalloc) can do the same, but must be loaded before Python starts.
"""

from __future__ import annotations

import ctypes
import sys

# Names and numbers of <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Let freed memory stay with the process; returns whether the C library agreed.

    A training step makes and frees the same large tensors again and again, and so does a batch
    that is embedded. By default glibc hands each back to the kernel, which fills it with zeros for
    the next one: a third of a frozen reference's forward pass goes there. Elsewhere than on
    Linux with glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    wanted = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 * 2**20))
    return all(mallopt(key, value) == 1 for key, value in wanted)
