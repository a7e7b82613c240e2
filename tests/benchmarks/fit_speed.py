"""How long does a training step of the default recipe take in several builds of the project, in turns, in one run?

The paper's size: widths 768/384/768, 6144 concepts, k = 32, 1568 tokens per step. A step is what a fit of 60 steps
takes beyond one of 20, in a process of its own. Each build is a folder with the two packages in it. Run from the
project's root:

    git worktree add /some/place 6c9b1b9
    python tests/benchmarks/fit_speed.py /some/place . [--turns 3] [--recipe published]

Measured on two cores of an EPYC with avx512_bf16 (--turns 2, 6c9b1b9 and this): 153 and 146 ms, 1.05 times as fast. On
a Xeon on which products in bfloat16 are slower than in float32, which is measured in place since, 366 and 281 ms of one
thread, 1.30 times as fast, by a script that is not kept. Since then steps keep their memory and standardize tokens at
the fast precision: on the EPYC with one thread, beside a load of 5, --turns 3, processor time of 6c9b1b9, the build
before that and this 265, 265 and 229 ms (1.16); with two threads and nothing beside it, --turns 2, on the clock 134,
143 and 124 ms (1.08). Since then tokens that stay in memory are standardized once, which these figures leave out (fits
of 60 and of 20 steps both begin with it, 10 ms for 1568 tokens of 768), and codes are those of the product that chose
them: one thread, beside a test suite, --turns 3, processor time of 6c9b1b9, the build before and this 245, 215 and 188
ms (1.30). step_floor.py says where they go.
"""

import argparse
import json
import statistics

from builds import in_turns
from clocks import clocks, since

FEW, MORE = 20, 60  # steps
WIDTHS = {"siglip": 768, "dino": 384, "vit": 768}
SIZE = {"n_concepts": 6144, "k": 32, "batch": 1568}


def step_seconds(recipe: str = "default") -> list[float]:
    """Clock and processor seconds of a step in this process, by the build that is on the path."""
    import torch

    from usae_train.demo.activations import known_world
    from usae_train.training.loop import fit_tokens
    from usae_train.training.settings import DEFAULT, PUBLISHED, FitSettings

    tokens = known_world(4 * SIZE["batch"], torch.Generator().manual_seed(0), WIDTHS, shared=512, active=16).tokens
    taken = []
    for steps in (FEW, FEW, MORE):  # the first warms up
        settings = FitSettings(**SIZE, steps=steps, recipe={"default": DEFAULT, "published": PUBLISHED}[recipe])
        began = clocks()
        fit_tokens(tokens, settings, log_every=MORE)
        taken.append(since(began))
    return [(more - few) / (MORE - FEW) for few, more in zip(taken[1], taken[2], strict=True)]


def main() -> None:
    """Let the builds take turns, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", nargs="*", help="the first is what the others are compared with")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--recipe", choices=("default", "published"), default="default")
    chosen = parser.parse_args()
    if not chosen.builds:
        print(json.dumps(step_seconds(chosen.recipe)))
        return
    seconds = in_turns(chosen.builds, chosen.turns, __file__, ["--recipe", chosen.recipe])
    first = [statistics.median(column) for column in zip(*seconds[chosen.builds[0]], strict=True)]
    for build, of_build in seconds.items():
        clock, processor = (statistics.median(column) for column in zip(*of_build, strict=True))
        print(
            f"{build}: a step {clock * 1e3:.0f} ms ({first[0] / clock:.2f} times as fast), processor "
            f"{processor * 1e3:.0f} ms ({first[1] / processor:.2f}), {SIZE['batch'] / clock:.0f} tokens/s",
            flush=True,
        )


if __name__ == "__main__":
    main()
