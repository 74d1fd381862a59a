"""A process that works beside others: its threads, its memory, and its end."""

import ctypes
import os
import signal
from contextlib import suppress

from refit_mv.solve.cores import CORES

# What must be there before a worker imports anything that counts threads.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# Of Linux, and of mallopt(3): numbers of options.
_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
# Memory that was freed stays with the process up to so much, bytes, and grows in such steps.
KEPT, STEP = 1 << 30, 1 << 26


def worker_environment(threads: int = 1) -> dict[str, str]:
    """Variables that hold a worker to its threads, and all of these to one heap, which :func:`keep_memory` is about."""
    return dict.fromkeys(THREADS, "1") | {CORES: str(threads), "MALLOC_ARENA_MAX": "1"}


def prepare_worker(threads: int = 1) -> None:
    """Make a process one that works beside others: so many threads, and memory that it keeps."""
    import torch

    os.environ[CORES] = str(threads)
    torch.set_num_threads(1)
    keep_memory()


def keep_memory() -> None:
    """Have the allocator hold on to memory that is freed, for the next take needs as much. By itself it gives every
    large array back and asks for it anew, 60,000 pages in a take of 1,000 frames (with this, 100): each is a fault that
    the system serves, and virtual machines serve those of all their cores one after the other.

    The GNU C library's, by ``mallopt(3)``; other allocators are left as they are.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, KEPT)
        mallopt(_M_TOP_PAD, STEP)
        # Older versions refuse more than half of STEP here, and keep what they were told before.
        mallopt(_M_MMAP_THRESHOLD, STEP // 2)
        mallopt(_M_MMAP_THRESHOLD, KEPT)


def die_with_parent() -> None:
    """Have the system end this process when the one that started it ends, however it does: nobody would fetch what it
    does, and whoever begins again would find it in the way. Where the system cannot, it ends by itself a little later.
    """
    with suppress(OSError, AttributeError, ValueError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
