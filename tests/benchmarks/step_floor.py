"""How near is a training step of the default recipe to what this processor can do? The roofline of the paper's size.

Widths 768/384/768, 6144 concepts, k = 32, 1568 tokens a step. What a step cannot do without, counted by hand, at the
rates that this processor is measured at here, in the same seconds as the step:

    products    tokens by the matrices of their standardization, and by the encoders: a third of the tokens by each
    rows        an atom a token, concept and backbone, read to decode, and again for the gradient of its code
    gradients   of encoders and dictionaries: written once
    AdamW       reads weights, gradients and two moments, writes weights and moments: 28 bytes a weight

Not counted: TopK, the auxiliary term, nested parts, noise, norms of gradients, sorting, reading tokens, and what sums
in the concepts' order read of tokens. The products' rate is that of the same shapes, rows are read from a table of
their size, the rest is read and written in place. A step is fit_speed.py's. Seconds are the processor's, of one thread.
From the project's root:

    OMP_NUM_THREADS=1 python tests/benchmarks/step_floor.py

Measured before tokens in memory were standardized once, and before codes were those of the product that chose them (a
step took 1.14 times as long, fit_speed.py), on an EPYC with avx512_bf16, beside a load of 5: a step 235 ms; at least
122 ms (0.52 of it): products 87, rows
16, gradients 2, AdamW 17. Products and AdamW take what they are counted for (87 and 16 ms, each operation's processor
time by a dispatch mode, of 206 in all); sums over entries take 60 for the 18 of rows and gradients, for an entry's row
is 3 KB from anywhere in 19 MB; the other 43 are 60 kinds of small ones, none above 4. 1.3 times 6c9b1b9's speed would
be about 200 ms here, which these floors allow. Selecting by products in 8 bits (torch._int_mm takes 12 ms for the 25 of
an encoder of 768) wins 5 of them, for the weights have to be rounded by rows at each step, and was not built.
"""

import argparse
from functools import partial

import torch
from clocks import least_seconds
from fit_speed import SIZE, WIDTHS, step_seconds

from usae_train.training.kernels.products import product_dtype

TOKENS, N_CONCEPTS, K = (SIZE[name] for name in ("batch", "n_concepts", "k"))
FLOAT = 4  # bytes
ROUNDS = 5


def floors() -> dict[str, float]:
    """{part: processor seconds that a step spends on it at least}."""
    dtype, share = product_dtype(torch.device("cpu")), TOKENS // len(WIDTHS)
    factors = []
    for width in WIDTHS.values():
        shown = torch.randn(TOKENS, width).to(dtype)
        factors += [(shown, torch.randn(width, width).to(dtype))]
        factors += [(shown[:share], torch.randn(width, N_CONCEPTS).to(dtype))]
    table = torch.randn(N_CONCEPTS, max(WIDTHS.values()))
    large = torch.randn(2**26)  # 256 MB
    read = least_seconds(table.sum, times=20) / table.nbytes
    moved = least_seconds(lambda: large.mul_(1.0)) / (2 * large.nbytes)
    weights = 2 * N_CONCEPTS * sum(WIDTHS.values())
    return {
        "products": sum(least_seconds(partial(torch.mm, *pair)) for pair in factors),
        "rows": 2 * TOKENS * K * sum(WIDTHS.values()) * FLOAT * read,
        "gradients": weights * FLOAT * moved,
        "AdamW": 7 * weights * FLOAT * moved,
    }


def main() -> None:
    """Measure in turns, and print the medians."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    steps, parts = [], []
    for _ in range(ROUNDS):
        steps.append(step_seconds()[1])
        parts.append(floors())
    median = {part: torch.tensor([own[part] for own in parts]).median().item() for part in parts[0]}
    whole, floor = torch.tensor(steps).median().item(), sum(median.values())
    print(f"a step {whole * 1e3:.0f} ms; at least {floor * 1e3:.0f} ms ({floor / whole:.2f} of it): ", end="")
    print(", ".join(f"{part} {seconds * 1e3:.0f}" for part, seconds in median.items()))


if __name__ == "__main__":
    main()
