"""How long something took: on the clock, and of the processor's time, for a machine that others use as well."""

import time
from collections.abc import Callable


def clocks() -> tuple[float, float]:
    """Seconds on the clock, and of the processor's time."""
    return time.perf_counter(), time.process_time()


def since(began: tuple[float, float]) -> tuple[float, float]:
    """Seconds since then: on the clock, and of the processor's time."""
    now = clocks()
    return now[0] - began[0], now[1] - began[1]


def least_seconds(run: Callable[[], object], times: int = 3) -> float:
    """Processor seconds, the least of so many turns."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        run()
        taken.append(time.process_time() - began)
    return min(taken)
