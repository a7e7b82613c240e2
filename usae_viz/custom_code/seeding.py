"""Random numbers that code draws from torch's own generator, seeded by a generator that is handed over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded_by(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Within it, what torch draws without a generator is seeded by the next number of a given one.

    New layers draw their weights that way, and so do most transforms. Afterwards torch's generators, of
    the processor and of this device, are as they were.
    """
    seed = int(torch.randint(2**62, (1,), generator=generator))
    places = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=places):
        torch.default_generator.manual_seed(seed)
        for place in places:
            with torch.cuda.device(place):
                torch.cuda.manual_seed(seed)
        yield
