"""Lack of memory, processes or open files, in the words of torch, its libraries, Python and the kernel."""

from __future__ import annotations

import errno
import re

from usae_train.runtime.errors import UsageError

MAX_COUNT = 10**9  # of anything that is counted: so many steps of a millisecond would take eleven days

# torch's allocators ("DefaultCPUAllocator: can't allocate memory", "CUDA out of memory"), C++ ("std::bad_alloc"), MKL
# and oneDNN ("could not create a memory object"), cuBLAS and cuDNN ("..._STATUS_ALLOC_FAILED"), numpy ("Unable to
# allocate"), the loader of shared libraries, a worker that the kernel killed
NO_MEMORY = re.compile(
    r"can(?:'t|not) allocate|unable to (?:mmap|allocate)|failed to (?:allocate|map segment)"
    r"|could not (?:allocate|create a memory)|out of memory|not enough memory|bad_alloc|alloc_failed"
    r"|killed by signal: killed|size calculation overflowed",
    re.IGNORECASE,
)
# a thread or process more than the system gives: Python's words, then the kernel's
NO_THREADS = re.compile(
    r"can't (?:start|create) (?:a )?new thread|resource temporarily unavailable|thread creation failed", re.IGNORECASE
)
NO_FILES = re.compile(r"too many open files", re.IGNORECASE)
NUMBERS = {errno.ENOMEM: "memory", errno.EAGAIN: "threads", errno.EMFILE: "files", errno.ENFILE: "files"}
REMEDIES = {
    "memory": "not enough memory; lower --batch, --image-batch, --memory or --workers, or where pictures are drawn "
    "--views, --size or --seeds",
    "threads": "the system allows no more threads or processes; lower --workers or --threads, set OMP_NUM_THREADS=1, "
    "or raise the limit (ulimit -u)",
    "files": "too many open files; lower --workers, or raise the limit (ulimit -n)",
}


def is_fault(error: BaseException) -> bool:
    """Whether an error is ours: neither what a user can cause, nor the system's, nor a lack of memory or the like."""
    return not isinstance(error, UsageError | OSError) and shortage(error) is None


def is_want_of_memory(error: BaseException) -> bool:
    """Whether a processor's or a GPU's memory was too small: cuBLAS and cuDNN have words of their own for it."""
    return _kind_of_shortage(error) == "memory"


def shortage(error: BaseException | None) -> str | None:
    """What an error says the machine lacks, and what to lower; None for an error of another kind.

    What it was raised from is looked at too: a reader of files may have wrapped it.
    """
    while error is not None:
        kind = _kind_of_shortage(error)
        if kind is not None:
            return REMEDIES[kind]
        error = error.__cause__
    return None


def _kind_of_shortage(error: BaseException) -> str | None:
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, OSError) and error.errno is not None:
        return NUMBERS.get(error.errno)
    if isinstance(error, RuntimeError | ImportError | OSError):
        words = str(error)
        for kind, pattern in (("memory", NO_MEMORY), ("threads", NO_THREADS), ("files", NO_FILES)):
            if pattern.search(words):
                return kind
    return None
