"""Chance that is taken from torch's own generator, made to be of a generator that is handed over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded_by(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Within it what torch draws without a generator is drawn by a generator's next number.

    Layers that are made draw their weights so, and most transforms that one finds. Afterwards torch's generators, of
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
