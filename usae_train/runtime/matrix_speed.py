"""In which numbers this processor multiplies matrices faster."""

from __future__ import annotations

import time

import torch

MIN_SPEEDUP = (
    1.2  # how many times, at least: bfloat16 is coarser, and processors lie far from it on one side or the other
)


_measured = list[bool]()  # not functools.cache, which torch.compile looks into: there is nothing in it to be compiled


def multiplies_faster_in_bfloat16() -> bool:
    """Whether this processor does; tried once, for some milliseconds, with a transformer's matrices.

    That it has instructions for it says little: without AMX a Xeon takes 62 ms for 523 x 768 x 6144 in bfloat16 and 34
    in float32 (one core, torch 2.14), an EPYC of Zen 4 a third of that of float32.
    """
    if not _measured:
        _measured.append(_measure())
    return _measured[0]


def _measure() -> bool:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    tokens, weight = torch.ones(1024, 384), torch.ones(384, 1536)
    exact, short = (_seconds(tokens.to(dtype), weight.to(dtype)) for dtype in (torch.float32, torch.bfloat16))
    return exact > MIN_SPEEDUP * short


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    """Processor seconds of a product, the least of five.

    Its place is there before: new memory is the system's work. In processes that began beside others it made 34 ms of
    7 in float32, so that some drew in bfloat16, and their pictures were other ones.
    """
    product, seconds = left @ right, []
    for _ in range(5):
        began = time.process_time()
        torch.mm(left, right, out=product)
        seconds.append(time.process_time() - began)
    return min(seconds)
