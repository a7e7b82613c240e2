"""Let the C library keep the memory of activations and gradients, which are asked for anew at each pass and step."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt's numbers, as in glibc's malloc.h
# One activation of 32 pictures of 224 px has 51 MB in EfficientNet-Lite0, 25 MB in a ViT-S/14.
CACHED_BYTES = 2**30
ALLOCATOR_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


@cache
def keep_memory() -> bool:
    """Keep what is freed for what is asked for next, in this process from now on; whether that could be set.

    glibc gives blocks of more than 32 MB back to the system at once, whatever it learned, and the kernel clears each
    page when it is asked for again: of the processor's time of extraction through a ViT-S and two small EfficientNets,
    41% was the kernel's. Without glibc, or where the user has set the allocator otherwise, nothing is changed.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in ALLOCATOR_VARIABLES):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(MMAP_THRESHOLD, CACHED_BYTES) and mallopt(TRIM_THRESHOLD, CACHED_BYTES))
