"""What do concepts of one's own win, and are they what one backbone alone has?

The demo: R² that universality costs (an SAE of each backbone alone, of as many concepts and as many active, less the
joint space), of a backbone's own tokens on held-out scenes; R² of the others' tokens; how many of a token's active
concepts are private. The known worlds (known_world.py): how well firing entropy, which is 0 for a private concept,
tells concepts that are nearest to a private atom from those nearest to a shared one (AUROC, over the concepts whose
nearest atom has a cosine of 0.5 or more), how many of either there are, and how many of the true shared atoms one index
has. Run from the project's root:

    OMP_NUM_THREADS=1 python tests/benchmarks/private_concepts.py [--worlds demo easy hard real] [--steps 300]
        [--stores STORES]  # of real networks: real_recipe.py says how they are made

Measured on two cores that five others used as well (seconds say nothing here). `active` is how many of a token's active
concepts are shared and private, mean over the backbones; the SAEs have 256 concepts, 24 of them active:

    demo, 300 steps; SAEs alone: vit 0.877, dino 0.888, siglip 0.909
    concepts  k private    own    off  costs (vit, dino, siglip)  active
         256 24       0  0.849  0.670  0.049 0.037 0.043          24.0  0.0
         256 24      32  0.864  0.675  0.029 0.027 0.027          20.1  3.9
         256 24      48  0.867  0.665  0.026 0.024 0.025          17.3  6.7
         256 24      64  0.874  0.654  0.017 0.017 0.019          12.0 11.9

    demo, 1000 steps; SAEs alone: vit 0.894, dino 0.903, siglip 0.923
         256 24       0  0.867  0.691  0.042 0.039 0.037          24.0  0.0
         448 24      96  0.881  0.680  0.025 0.030 0.022          14.1  9.8
         352 32      64  0.894  0.690  0.011 0.013 0.011          19.2 12.7

    real, 300 steps; SAEs alone, of 512 concepts, 12 active: dino 0.727, lite0 0.619, lite2 0.607
         512 12       0  0.606  0.373  0.054 0.041 0.041          12.0  0.0
         512 12      64  0.616  0.363  0.034 0.035 0.037          10.3  1.7
         608 16      96  0.656  0.380  0.007 -0.012 -0.011        13.0  3.0

So at one k a slot that is private is one that the others lose: costs fall by two fifths while R² of the others' tokens
is up by 0.005 or down by as much. With some slots more, 13 of 32 private, costs are a third, others lose none; an
SAE with 32 active would be ahead again. Without the term that has the shared concepts explain the tokens alone, 32
private ones of 256 give 0.861 and 0.670 (costs 0.033, 0.030, 0.030): what all could share is drained into them.

A step takes 1.07 times the default's with 48 private ones of 256, and 1.25 times with 352, k = 32 (40 steps of each in
turn, one thread).

    easy, 300 steps (128 shared atoms, 32 private ones of each backbone, 2 active)
    private    own    off  recovered  AUROC
          0  0.802  0.696       0.95  0.85 (240 near shared atoms, 6 near private ones)
         16  0.810  0.686       0.91  0.97 (216 near shared atoms, 30 near private ones)
         32  0.816  0.668       0.84  0.90 (192 near shared atoms, 53 near private ones)

    hard, 300 steps (32 shared atoms, 96 private ones of each backbone, 5 active, and a fourth backbone of noise)
          0  0.732  0.529       0.97  0.66 (95 near shared atoms, 91 near private ones)
         32  0.760  0.528       0.94  0.96 (101 near shared atoms, 107 near private ones)
         48  0.785  0.525       0.97  0.97 (65 near shared atoms, 140 near private ones)

Fewer than there are of each backbone are told apart best: with as many private concepts as there are private atoms (32
in the easy world; 96 of 416 in the hard one, AUROC 0.77) some take a shared atom for themselves.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from known_world import draw, measured, off_diagonal, recovered, told_apart
from torch import Tensor
from variants import World, demo, real

from usae_train.evaluation.measures import Measures
from usae_train.model.usae import USAE
from usae_train.tokens.paired import PairedTokens
from usae_train.training.loop import fit_tokens
from usae_train.training.settings import FitSettings

KNOWN = {"n_concepts": 256, "k": 8, "batch": 1024}
# n_concepts, k, private
DEMO = ((256, 24, 0), (256, 24, 32), (256, 24, 48), (256, 24, 64), (448, 24, 96), (352, 32, 64))
REAL = ((512, 12, 0), (512, 12, 64), (608, 16, 96))
PRIVATE = {"easy": (0, 16, 32), "hard": (0, 32, 48)}


def judged(usae: USAE, held: PairedTokens) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """R² from each backbone to each of held-out tokens, and how many of a token's active concepts are private."""
    measures = Measures(usae)
    tokens = {name: held.tokens[name].float() for name in usae.names}
    measures.add(PairedTokens(tokens, held.numbers), 0)
    statistics = measures.firing.statistics()
    shares = statistics.firing_share[:, usae.private.n_shared :].sum(1)
    return measures.whole().r2, dict(zip(usae.names, shares.tolist(), strict=True))


def alone(tokens: Mapping[str, Tensor], held: PairedTokens, settings: FitSettings) -> dict[str, float]:
    """R² of each backbone's own SAE."""
    found = {}
    for place, (name, own) in enumerate(tokens.items()):
        seeds = {"seed": settings.seed + 1 + place, "init_seed": settings.init_seed + 1 + place}
        usae = fit_tokens({name: own}, settings.model_copy(update=seeds))
        found[name] = judged(usae, held)[0][name][name]
    return found


def seen_table(title: str, world: World, rows: Sequence[tuple[int, int, int]], steps: int) -> None:
    """Train, judge and print the rows of a world whose truth is not known."""
    settings = FitSettings(steps=steps, **world.sizes)
    independent = alone(world.train, world.held, settings)
    names = list(world.train)
    print(f"{title}, {steps} steps; SAEs alone: " + ", ".join(f"{n} {r2:.3f}" for n, r2 in independent.items()))
    print(f"concepts  k private    own    off  {'costs (' + ', '.join(names) + ')':26s} active")
    for n_concepts, k, count in rows:
        row = {"n_concepts": n_concepts, "k": k, "n_private": count}
        usae = fit_tokens(world.train, settings.model_copy(update=row))
        r2, private = judged(usae, world.held)
        own = sum(r2[name][name] for name in names) / len(names)
        off = [r2[a][b] for a in names for b in names if a != b]
        costs = " ".join(f"{independent[name] - r2[name][name]:.3f}" for name in names)
        active = sum(private.values()) / len(private)
        figures = f"{n_concepts:8d} {k:2d} {count:7d}  {own:.3f}  {sum(off) / len(off):.3f}  {costs:26s}"
        print(f"{figures} {k - active:.1f} {active:.1f}", flush=True)


def known_table(name: str, steps: int) -> None:
    """Train, judge and print a known world's rows."""
    train, held_out = draw(name)
    print(f"{name}, {steps} steps\n{'private':>9s}    own    off  recovered  AUROC")
    for count in PRIVATE[name]:
        usae = fit_tokens(train.tokens, FitSettings(steps=steps, n_private=count, **KNOWN))
        report, statistics = measured(usae, held_out)
        own = sum(report["r2"][each][each] for each in train.atoms) / len(train.atoms)
        off = off_diagonal(report["r2"], train)
        told = told_apart(usae, train, statistics)
        print(f"{count:9d}  {own:.3f}  {off:.3f}  {recovered(usae, train):9.2f}  {told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    worlds = ("demo", *PRIVATE)
    parser.add_argument("--worlds", nargs="*", choices=(*worlds, "real"), default=worlds)
    parser.add_argument("--stores", type=Path, help="folder with the stores `train` and `held`, for `real`")
    parser.add_argument("--steps", type=int, default=300)
    chosen = parser.parse_args()
    for name in chosen.worlds:
        began = time.process_time()
        if name == "demo":
            seen_table(name, demo(), DEMO, chosen.steps)
        elif name == "real":
            seen_table(name, real(chosen.stores), REAL, chosen.steps)
        else:
            known_table(name, chosen.steps)
        print(f"{time.process_time() - began:.0f} s of the processor\n", flush=True)


if __name__ == "__main__":
    main()
