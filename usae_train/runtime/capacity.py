"""How many processes a machine can run: its cores, and the memory that is free."""

from __future__ import annotations

import math
import os
import sys
from contextlib import suppress
from pathlib import Path

from usae_train.runtime.distributed import torchrun_context
from usae_train.runtime.errors import UsageError

CGROUP = Path("/sys/fs/cgroup")
MEMORY_SHARE = 0.8  # of the memory that is free: the rest is the command's own, and the estimate's
# Of a worker beside what it computes. Private memory (smaps_rollup) of a forked copy of a command with the demo loaded:
# 0.002 GB where it does nothing, 0.07 after one step of a picture of 32 px.
OVERHEAD = 0.1e9
BLOCK_NUMBERS = 32  # per token and feature, that a transformer's block has in memory at once, twice its widest


def workers_for(requested: int | None, jobs: int, device: str, bytes_each: float = 0.0) -> int:
    """How many workers share some jobs.

    Args:
        requested: what --workers says; as many as there are cores, and memory for by default.
        jobs: how many there are: no worker is started without one.
        device: the device that computes; a GPU has one process.
        bytes_each: memory that a worker takes.

    Returns:
        1 where this process does all the work.

    Raises:
        ValueError: for more than one on a GPU or under torchrun, and for more than fit into memory.
    """
    if requested is not None and requested < 1:
        raise UsageError(f"--workers is {requested}; expected 1 or more")
    alone = _why_alone(device)
    if alone is not None:
        if requested is not None and requested > 1:
            raise UsageError(f"--workers is {requested}, and {alone}; leave it out")
        return 1
    each = bytes_each + OVERHEAD
    free = free_memory()
    fitting = max(1, int(MEMORY_SHARE * free / each))
    if requested is not None and requested > fitting:
        raise UsageError(
            f"--workers is {requested}: each takes about {each / 1e9:.2g} GB, and {free / 1e9:.3g} GB are free; "
            f"expected at most {fitting}"
        )
    return max(1, min(requested or cores(), fitting, jobs))


def _why_alone(device: str) -> str | None:
    if device.startswith("cuda"):
        return "on a GPU pictures are drawn together by one process"
    if torchrun_context().world_size > 1:
        return "the processes that torchrun started share the work"
    if not sys.platform.startswith("linux"):  # elsewhere copies of a process that computes are not safe
        return "workers need Linux"
    return None


def cores() -> int:
    """Cores that this process may use: those that it is bound to, and no more than its container's share of time."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = (CGROUP / "cpu.max").read_text().split()
        if quota != "max":
            bound = min(bound, math.ceil(int(quota) / int(period)))
    return max(1, bound)


def free_memory() -> int:
    """Bytes that can still be taken: of the machine's, and of the container's."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    with suppress(OSError, ValueError):
        limit, used = ((CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        if limit != "max":
            free = min(free, max(0, int(limit) - int(used) + _file_pages()))
    return free


def _file_pages() -> int:
    """Of what a container has taken, the files that the kernel would give back."""
    lines = (CGROUP / "memory.stat").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("inactive_file ", "active_file ")))
