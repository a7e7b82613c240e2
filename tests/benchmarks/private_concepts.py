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
concepts are shared and private, mean over the backbones; costs are against autoencoders (256 concepts; `real` 512) of
as many active ones; `slots` is k_private. Rows of 64 private ones without slots are of an earlier run:

    demo, 1000 steps; SAEs alone, 24 active: vit 0.893, dino 0.903, siglip 0.923; 32 active: 0.909, 0.920, 0.935
    concepts  k private slots    own    off  costs (vit, dino, siglip)  active
         256 24       0     -  0.867  0.691  0.042 0.039 0.037          24.0  0.0
         256 24      48     6  0.882  0.686  0.026 0.026 0.022          18.0  6.0
         448 24      96     0  0.881  0.680  0.024 0.030 0.022          14.1  9.9
         448 24      96     4  0.884  0.695  0.021 0.024 0.021          20.0  4.0
         448 24      96     6  0.885  0.691  0.020 0.024 0.020          18.0  6.0
         448 24      96     8  0.885  0.687  0.022 0.024 0.020          16.0  8.0
         832 24     192     6  0.877  0.686  0.030 0.028 0.029          18.0  6.0
         352 32      64     0  0.894  0.690  0.026 0.030 0.023          19.2 12.7
         352 32      64     8  0.898  0.698  0.023 0.027 0.021          24.1  7.9

    the same, 448 concepts, 24 active, 6 of them private, in other ways (by a script that is not kept)
         all backbones encode all tokens  0.887  0.692  0.018 0.022 0.020
         not nested                       0.880  0.686  0.027 0.027 0.026
         3000 steps                       0.888  0.694  0.025 0.030 0.023  (SAEs alone: 0.902 0.912 0.929)

    real, 300 steps; SAEs alone, 12 active: dino 0.727, lite0 0.619, lite2 0.607; 16 active: 0.759, 0.663, 0.652
         512 12       0     -  0.606  0.373  0.054 0.040 0.041          12.0  0.0
         512 12      64     0  0.616  0.363  0.034 0.035 0.037          10.3  1.7
         512 12      64     3  0.615  0.356  0.032 0.038 0.039           9.0  3.0
         704 12      96     0  0.618  0.363  0.039 0.030 0.031          10.2  1.8
         704 12      96     3  0.617  0.358  0.039 0.030 0.031           9.0  3.0
         608 16      96     4  0.656  0.376  0.037 0.033 0.035          12.0  4.0

    the same, 448 concepts, 1000 steps, where a backbone's tokens from its own codes count more than from others' (field
    `own_weight` of a recipe, and by a script that is not kept); the last row is one of `DEMO`
        slots  own_weight                    own    off  costs (vit, dino, siglip)
            4  2                           0.892  0.689  0.014 0.016 0.013
            4  1.7                         0.889  0.691  0.017 0.019 0.017
            3  2                           0.890  0.690  0.016 0.018 0.015
            2  2                           0.889  0.692  0.017 0.019 0.017
            4  2, of all concepts alone    0.886  0.690  0.020 0.022 0.020  (the nested parts count as they do)
            4  2, encoding `all`           0.895  0.694  0.010 0.014 0.010
               the same, seed 1            0.892  0.689  0.015 0.018 0.013 (256 concepts without: 0.866, 0.690)

In the demo private concepts with slots of their own no longer take those that all could use: at one k, 4 of 24 leave
others' tokens better explained than a space without (0.695 for 0.691), and a backbone's own better than one TopK over
all (0.884 for 0.881), which had 10. 4, 6 or 8 slots, all tokens through every encoder, more private concepts or three
times the steps alone cost 0.02 to 0.03 at one k; 0.015 is reached where own tokens count twice and every backbone
encodes all tokens, as an autoencoder alone does: 0.010 to 0.014, and others' tokens as well explained as in a space
without private concepts. Such a step takes 2.3 to 2.6 times as long. With 24 shared and 8 private
ones own tokens cost 0.007, 0.010 and 0.009 against autoencoders of 24, and others lose none (0.698); against those of
32 it is 0.023, 0.027 and 0.021 again. On real networks one TopK gives private ones less than two slots of 12 by
itself, and to ask for three wins nothing.

All of these are of 0.8's default recipe. By today's, autoencoders alone explain more of their own tokens (24 active:
0.904, 0.916 and 0.931), the space of 256 has 0.873 and 0.701 (costs 0.044 0.046 0.041), and of the last row's kind (own
tokens count twice, all encode) it is 0.895 and 0.693, as before: costs of 0.021 0.026 0.018, with another start 0.021
0.027 0.017; where own tokens count three times 0.899 and 0.689, 0.017 0.023 0.014, with 6 slots 0.017 0.024 0.014, with
192 private ones of 640 0.670 of others' and 0.019 0.023 0.015, with 48 of 400 and 3 slots 0.022 0.024 0.020; four times
0.902 and 0.684, 0.014 0.021 0.011. Other rates, betas and auxiliary weights change nothing of it. So what was asked for
is reached in two of three backbones, at 0.017 of others' tokens.

Of before: 32 private ones of 256 cost 0.029 0.027 0.027 in 300 steps, 64 0.017 0.017 0.019 with others' tokens at 0.654
(0.670). Without the term that has the shared concepts explain the tokens alone, 32 private ones of 256 give 0.861 and
0.670 (costs 0.033, 0.030, 0.030): what all could share is drained into them. A step takes 1.07 times the default's with
48 private ones of 256, and 1.25 times with 352, k = 32 (40 steps of each in turn, one thread).

    easy, 300 steps (128 shared atoms, 32 private ones of each backbone, 2 active)
    private    own    off  recovered  AUROC
          0  0.802  0.696       0.95  0.85 (240 near shared atoms, 6 near private ones)
         16  0.810  0.686       0.91  0.97 (216 near shared atoms, 30 near private ones)
         32  0.816  0.668       0.84  0.90 (192 near shared atoms, 53 near private ones)

    hard, 300 steps (32 shared atoms, 96 private ones of each backbone, 5 active, and a fourth backbone of noise)
          0  0.732  0.529       0.97  0.66 (95 near shared atoms, 91 near private ones)
         32  0.760  0.528       0.94  0.96 (101 near shared atoms, 107 near private ones)
         48  0.785  0.525       0.97  0.97 (65 near shared atoms, 140 near private ones)

By today's default recipe AUROC is 0.86, 0.97 and 0.88 in the easy world, 0.77, 0.93 and 0.96 in the hard one; of own
tokens 0.809, 0.821, 0.823 and 0.760, 0.778, 0.790 are explained.

With 2 of the 8 active ones private (--k-private 2), where atoms of one's own are a fifth of those that are there, it is
worse in the easy world (16: 0.803, 0.673, AUROC 0.93; 32: 0.808, 0.654, 0.90), and much the same in the hard one (32:
0.751, 0.533, 0.96; 48: 0.756, 0.531, 0.94): how many are anyone's own depends on the tokens, and `slots` are to be
asked for.

Fewer than there are of each backbone are told apart best: with as many private concepts as there are private atoms (32
in the easy world; 96 of 416 in the hard one, AUROC 0.77) some take a shared atom for themselves.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from known_world import draw, measured, off_diagonal, recovered, separation
from torch import Tensor
from variants import World, demo, real

from usae_train.evaluation.measures import Measures
from usae_train.model.usae import USAE
from usae_train.tokens.paired import PairedTokens
from usae_train.training.loop import fit_tokens
from usae_train.training.settings import DEFAULT, FitSettings, TrainingRecipe

KNOWN = {"n_concepts": 256, "k": 8, "batch": 1024}


class Row(NamedTuple):
    """Sizes of a space: how many concepts, how many active, and how many of both are a backbone's own; the recipe."""

    n_concepts: int
    k: int
    private: int = 0
    k_private: int = 0
    recipe: TrainingRecipe = DEFAULT


OWN_TWICE = DEFAULT.model_copy(update={"name": "own twice, all encode", "encoding": "all", "own_weight": 2.0})
# 448 less the others' own ones are 256, as many as an autoencoder alone has
DEMO = (
    Row(256, 24),
    Row(256, 24, 48),
    Row(256, 24, 48, 6),
    Row(448, 24, 96),
    Row(448, 24, 96, 4),
    Row(448, 24, 96, 4, OWN_TWICE),
    Row(448, 24, 96, 6),
    Row(448, 24, 96, 8),
    Row(832, 24, 192, 6),
    Row(352, 32, 64),
    Row(352, 32, 64, 8),
)
REAL = (Row(512, 12), Row(512, 12, 64), Row(512, 12, 64, 3), Row(704, 12, 96), Row(704, 12, 96, 3), Row(608, 16, 96, 4))
ALONE = {"demo": (24, 32), "real": (12, 16)}  # active concepts of autoencoders of one backbone
PRIVATE = {"easy": (0, 16, 32), "hard": (0, 32, 48)}


def judged(usae: USAE, held: PairedTokens) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """R² from each backbone to each of held-out tokens, and how many of a token's active concepts are private."""
    measures = Measures(usae)
    tokens = {name: held.tokens[name].float() for name in usae.names}
    measures.add(PairedTokens(tokens, held.numbers), 0)
    statistics = measures.firing.statistics()
    shares = statistics.firing_share[:, usae.private.n_shared :].sum(1)
    return measures.total().r2, dict(zip(usae.names, shares.tolist(), strict=True))


def alone(tokens: Mapping[str, Tensor], held: PairedTokens, settings: FitSettings) -> dict[str, float]:
    """R² of each backbone's own SAE."""
    scores = {}
    for place, (name, rows) in enumerate(tokens.items()):
        seeds = {"seed": settings.seed + 1 + place, "init_seed": settings.init_seed + 1 + place}
        usae = fit_tokens({name: rows}, settings.model_copy(update=seeds))
        scores[name] = judged(usae, held)[0][name][name]
    return scores


def seen_table(title: str, world: World, rows: Sequence[Row], steps: int) -> None:
    """Train, judge and print the rows of a world whose truth is not known; costs are against as many active ones."""
    settings = FitSettings(steps=steps, **world.sizes)
    names, independent = list(world.train), {}
    for k in ALONE[title]:
        independent[k] = alone(world.train, world.held, settings.model_copy(update={"k": k}))
        words = ", ".join(f"{name} {r2:.3f}" for name, r2 in independent[k].items())
        print(f"{title}, {steps} steps; SAEs alone, {settings.n_concepts} concepts, {k} active: {words}", flush=True)
    print(f"concepts  k private    own    off  {'costs (' + ', '.join(names) + ')':26s} active")
    for n_concepts, k, count, own_slots, recipe in rows:
        row = {"n_concepts": n_concepts, "k": k, "n_private": count, "k_private": own_slots, "recipe": recipe}
        usae = fit_tokens(world.train, settings.model_copy(update=row))
        r2, private = judged(usae, world.held)
        own_r2 = sum(r2[name][name] for name in names) / len(names)
        off = [r2[a][b] for a in names for b in names if a != b]
        costs = " ".join(f"{independent[k][name] - r2[name][name]:.3f}" for name in names)
        active = sum(private.values()) / len(private)
        figures = f"{n_concepts:8d} {k:2d} {count:7d}  {own_r2:.3f}  {sum(off) / len(off):.3f}  {costs:26s}"
        print(f"{figures} {k - active:.1f} {active:.1f}  {recipe.name}", flush=True)


def known_table(name: str, steps: int, k_private: int) -> None:
    """Train, judge and print a known world's rows."""
    train, held_out = draw(name)
    print(f"{name}, {steps} steps\n{'private':>9s}    own    off  recovered  AUROC")
    for count in PRIVATE[name]:
        usae = fit_tokens(
            train.tokens, FitSettings(steps=steps, n_private=count, k_private=k_private if count else 0, **KNOWN)
        )
        report, statistics = measured(usae, held_out)
        own_r2 = sum(report["r2"][each][each] for each in train.atoms) / len(train.atoms)
        off = off_diagonal(report["r2"], train)
        auroc_text = separation(usae, train, statistics)
        print(f"{count:9d}  {own_r2:.3f}  {off:.3f}  {recovered(usae, train):9.2f}  {auroc_text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    worlds = ("demo", *PRIVATE)
    parser.add_argument("--worlds", nargs="*", choices=(*worlds, "real"), default=worlds)
    parser.add_argument("--stores", type=Path, help="folder with the stores `train` and `held`, for `real`")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--k-private", type=int, default=0, help="of the known worlds' 8 active ones")
    chosen = parser.parse_args()
    for name in chosen.worlds:
        began = time.process_time()
        if name == "demo":
            seen_table(name, demo(), DEMO, chosen.steps)
        elif name == "real":
            seen_table(name, real(chosen.stores), REAL, chosen.steps)
        else:
            known_table(name, chosen.steps, chosen.k_private)
        print(f"{time.process_time() - began:.0f} s of the processor\n", flush=True)


if __name__ == "__main__":
    main()
