"""What the auxiliary loss on dead concepts is worth (Gao et al. 2024, appendix A.2), on the demo universe's tokens.

The three demo backbones see 200 training scenes, a USAE of 1024 concepts (the demo itself has 256) is trained on
their tokens, and R² is measured on 60 scenes of another split. `dead`: share of the concepts that fire nowhere in
those scenes through any encoder. Run from the project's root:

    python tests/benchmarks/dead_concepts.py [--steps 300]

A first, short look (100 and 40 scenes, --steps 200): dead / off-diagonal R² 0.097 / 0.498 with the auxiliary loss and
0.092 / 0.498 without it: no gain there. From a random start, with it: 0.341 / 0.523.
"""

import argparse

import torch
from torch import Tensor

import usae_train
from usae_train.evaluation.metrics import r2_summary
from usae_train.images.sources import DemoImages
from usae_train.model.usae import USAE
from usae_train.tokens.paired import TokenSource, collect_tokens
from usae_train.training.logging.step_metrics import pair_metrics
from usae_train.training.loop import fit_tokens, new_usae
from usae_train.training.losses import squared_error
from usae_train.training.settings import DEFAULT, FitSettings, TrainingRecipe

LATE = 50  # steps without firing after which these short trainings call a concept dead
FROM_NOISE: dict[str, object] = {"dictionary_init": "random", "tied": False}
VARIANTS: dict[str, dict[str, object]] = {
    "default": {},
    "without the auxiliary loss": {"auxiliary": "none"},
    "random start": FROM_NOISE,
    "random start, without": {**FROM_NOISE, "auxiliary": "none"},
}


def dead_share(usae: USAE, tokens: dict[str, Tensor]) -> float:
    """Share of the concepts that fire on none of the tokens, through no encoder."""
    fired = torch.zeros(usae.n_concepts, dtype=torch.bool)
    for name, rows in tokens.items():
        codes = usae.encode(name, rows.float())
        fired[codes.indices[codes.values > 0]] = True
    return 1 - fired.float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--concepts", type=int, default=1024)
    chosen = parser.parse_args()
    demo = usae_train.load("demo")
    assert demo.grid is not None
    tokens, held_out = (
        collect_tokens(TokenSource(demo.backbones, DemoImages(count, split), demo.grid), batch=50).flat()
        for count, split in ((200, "train"), (60, "test"))
    )
    print(f"{chosen.steps} steps, {chosen.concepts} concepts      dead  off-diagonal R²  diagonal R²")
    for label, changes in VARIANTS.items():
        recipe: TrainingRecipe = DEFAULT.model_copy(update={"dead_after": LATE, **changes})
        settings = FitSettings(n_concepts=chosen.concepts, k=20, steps=chosen.steps, batch=1024, recipe=recipe)
        usae = fit_tokens(tokens, settings, new_usae(demo.widths, settings, grid=demo.grid), log_every=chosen.steps)
        standardized = {name: usae.standardize(name, rows.float()) for name, rows in held_out.items()}
        r2 = r2_summary(pair_metrics(usae, standardized, squared_error)["r2"])
        print(
            f"{label:32s} {dead_share(usae, held_out):7.3f} {r2['off_diagonal']:14.3f} {r2['diagonal']:12.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
