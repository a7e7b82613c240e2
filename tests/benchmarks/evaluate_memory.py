"""How much memory and time an evaluation takes beside the encoding itself.

Random tokens of the paper's size (196 a picture, widths 768, 384, 768, 6144 concepts, 32 active), streamed: no picture
is read and no backbone is run, so that what is measured is the USAE's encoding and what is added up. Run from the
project's root, on an otherwise idle machine:

    python tests/benchmarks/evaluate_memory.py [--images 200]

Prints resident memory at the start, its peak, what grows with the pictures, that extrapolated to 5,000, and the time of
the whole over the time of encoding alone.

Measured with --images 5000 on one thread, twelve minutes (processor time): 861 MB at the start, at most 1310 MB; 1.19
times the encoding (330 s). With the paper's backbones in the same process their weights come on top.
"""

import argparse
import resource
import time
from pathlib import Path

import torch

from usae_train.evaluation.measures import Measures
from usae_train.model.firing import ENCODING_BATCH_SIZE
from usae_train.model.usae import USAE
from usae_train.tokens.paired import PairedTokens

WIDTHS = {"siglip": 768, "dino": 384, "vit": 768}
TOKENS, CONCEPTS, K, WHOLE = 196, 6144, 32, 5000


def resident() -> float:
    """MB of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def peak() -> float:
    """MB of memory that it had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    n_images = parser.parse_args().images
    usae = USAE(WIDTHS, CONCEPTS, K).eval().requires_grad_(False)
    measures, generator = Measures(usae), torch.Generator().manual_seed(0)
    began, encoding, adding = resident(), 0.0, 0.0
    print(f"libraries and USAE: {began:.0f} MB", flush=True)
    for first in range(0, n_images, ENCODING_BATCH_SIZE):
        tokens = {n: torch.randn(ENCODING_BATCH_SIZE, TOKENS, w, generator=generator) for n, w in WIDTHS.items()}
        clock = time.process_time()
        for name, rows in tokens.items():
            usae.encode(name, rows)
        encoding, clock = encoding + time.process_time() - clock, time.process_time()
        measures.add(PairedTokens(tokens, torch.arange(first, first + ENCODING_BATCH_SIZE)), 0)
        adding += time.process_time() - clock
    kept = sum(block.numel() * block.element_size() for block in measures.firing.largest) / 1e6
    print(f"{n_images} pictures: at most {peak():.0f} MB resident, of which {kept:.1f} grow with the pictures")
    clock = time.process_time()
    measures.firing.statistics()
    print(f"statistics: {time.process_time() - clock:.1f} s; at most {peak():.0f} MB")
    print(f"{WHOLE} pictures, extrapolated: at most {peak() - kept + kept * WHOLE / n_images:.0f} MB")
    print(f"time: encoding {encoding:.1f} s, the evaluation {adding:.1f} s: {adding / encoding:.2f} times")


if __name__ == "__main__":
    main()
