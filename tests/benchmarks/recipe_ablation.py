"""What each part of the default recipe is worth, where the true dictionaries are known.

The world (usae_train/demo/activations.py): 128 shared sparse concepts, 6 active, Zipf-popular; widths 64/48/64; two
private atoms a token and backbone, 5% noise. 256 atoms, k = 8, 1024 tokens per step; figures on 8000 held-out tokens.
`cosine`: mean best cosine of a true atom; `same index`: share of true atoms that one index recovers (cosine >= 0.9) in
all three dictionaries. Run from the project's root:

    python tests/benchmarks/recipe_ablation.py [--steps 500] [--only default published ...]

Measured with one scalar mean and std, no weight decay and dead counted over all backbones (what came instead, on real
networks: real_recipe.py), --steps 500, one thread, seconds of the processor (an oracle that knows the shared code
reaches R² 0.840).
In the default each token is encoded by one backbone (`share`); below it, all backbones encode every token, and the
other rows change one thing of that:

    recipe                 off-diagonal R²  diagonal R²  cosine  same index  seconds
    default                          0.663        0.782   0.898        0.84        6
    all encode a step                0.668        0.786   0.904        0.85       12
    not nested                       0.673        0.790   0.920        0.88       12
    random start                     0.605        0.739   0.784        0.59       12
    untied                           0.582        0.722   0.768        0.53       12
    one encodes a step               0.528        0.718   0.792        0.31        5
    absolute error                   0.673        0.791   0.905        0.86       14
    no auxiliary                     0.668        0.786   0.904        0.85       13
    rate 3e-3                        0.618        0.757   0.867        0.70       13
    rate 2e-2, of the default        0.661        0.778   0.895        0.85        7
    published                       -0.730       -0.552   0.369        0.00        8

For the same time `share` is the better one, with --steps 1000 and 1500:

    default, 1000 steps              0.685        0.794   0.930        0.89       13
    default, 1500 steps              0.693        0.798   0.944        0.91       19
    all encode a step, 1000          0.689        0.796   0.939        0.91       27

Nesting costs a little here and is kept for what it does on the demo's tokens (256 concepts, k 16, 1500 steps): 14 of
15 colours and textures have one concept with patch AUROC >= 0.90 in all three backbones, without it 8. No concept died
here, so the auxiliary term had nothing to do.
"""

import argparse

import torch
from clocks import clocks, since
from explained import r2

from usae_train.demo.activations import KnownWorld, known_world
from usae_train.tokens.paired import PairedTokens
from usae_train.training.add_backbone import held_out_r2
from usae_train.training.loop import fit_tokens
from usae_train.training.settings import DEFAULT, PUBLISHED, FitSettings, TrainingRecipe

ALL = DEFAULT.model_copy(update={"encoding": "all"})
VARIANTS: dict[str, TrainingRecipe] = {
    "default": DEFAULT,
    "rate 2e-2": DEFAULT.model_copy(update={"learning_rate": 2e-2}),
    "all encode a step": ALL,
    "not nested": ALL.model_copy(update={"matryoshka_fractions": ()}),
    "random start": ALL.model_copy(update={"dictionary_init": "random"}),
    "untied": ALL.model_copy(update={"tied": False}),
    "one encodes a step": ALL.model_copy(update={"encoding": "one"}),
    "absolute error": ALL.model_copy(update={"loss": "absolute"}),
    "no auxiliary": ALL.model_copy(update={"auxiliary": "none"}),
    "batch norm": ALL.model_copy(update={"batch_norm": True}),
    "no offset": ALL.model_copy(update={"offset": False}),
    "rate 3e-3": ALL.model_copy(update={"learning_rate": 3e-3}),
    "published": PUBLISHED,
}


def oracle(train: KnownWorld, held_out: KnownWorld) -> float:
    """R² of the best linear decoder of the true shared code: what no shared code can exceed."""

    def with_one(code: torch.Tensor) -> torch.Tensor:
        return torch.cat([code, torch.ones(len(code), 1)], 1)

    figures = []
    for name, tokens in train.tokens.items():
        decoder = torch.linalg.lstsq(with_one(train.code), tokens).solution
        figures.append(r2(held_out.tokens[name], with_one(held_out.code) @ decoder))
    return sum(figures) / len(figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    chosen = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    train = known_world(100_000, generator)
    held_out = known_world(8_000, generator, truth=train)
    names = list(train.tokens)
    print(f"oracle: R² {oracle(train, held_out):.3f}")
    print(f"{chosen.steps} steps            off-diagonal R²  diagonal R²  cosine  same index  seconds")
    for label in chosen.only:
        settings = FitSettings(n_concepts=256, k=8, steps=chosen.steps, batch=1024, recipe=VARIANTS[label])
        began = clocks()
        usae = fit_tokens(train.tokens, settings)
        _, seconds = since(began)
        picture = {name: tokens[None] for name, tokens in held_out.tokens.items()}
        matrix = held_out_r2(usae, PairedTokens(picture, torch.zeros(1)))
        off_diagonal = [matrix[a][b] for a in names for b in names if a != b]
        diagonal = [matrix[a][a] for a in names]
        cosines = torch.stack([train.atoms[a][: train.code.shape[1]] @ usae.dictionary(a).T for a in names])
        best = cosines.amax(2).mean().item()
        same = (cosines.amin(0).amax(1) >= 0.9).float().mean().item()
        print(
            f"{label:20s} {sum(off_diagonal) / len(names) / (len(names) - 1):14.3f} {sum(diagonal) / len(names):12.3f} "
            f"{best:7.3f} {same:11.2f} {seconds:8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
