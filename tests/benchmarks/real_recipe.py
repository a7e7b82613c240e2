"""What each part of the default recipe is worth on real networks (shared/real): a transformer, two convolutional ones.

512 concepts, k = 12, 2048 tokens a step, trained on 400 photographs of `train`, judged on the 118 of `held`; R² is
around each feature's mean. `live`: share of the concepts that fire in held-out photographs through each backbone;
`entropy`: mean firing entropy of the concepts that fire. Extract once, then run from the project's root:

    usae-train extract ../shared/real/photos/train --limit 400 --backbones ../shared/real/specs.yaml --out STORES/train
    usae-train extract ../shared/real/photos/held --backbones ../shared/real/specs.yaml --out STORES/held
    python tests/benchmarks/real_recipe.py STORES [--steps 1000] [--only default scalar ...]

TABLE
"""

import argparse
from pathlib import Path

from clocks import clocks, since

from usae_train.evaluation.ceiling import ceiling_figures
from usae_train.evaluation.measures import Measures
from usae_train.evaluation.metrics import r2_summary
from usae_train.tokens.feeding import Feed, StoreFeed
from usae_train.tokens.paired import PairedTokens
from usae_train.tokens.store import ActivationStore
from usae_train.training.independent_fit import OneBackbone
from usae_train.training.loop import fit_tokens, new_usae
from usae_train.training.settings import DEFAULT, PUBLISHED, FitSettings, Recipe

VARIANTS: dict[str, Recipe] = {
    "default": DEFAULT,
    "scalar": DEFAULT.model_copy(update={"standardization": "scalar"}),
    "centred": DEFAULT.model_copy(update={"standardization": "centred"}),
    "no decay": DEFAULT.model_copy(update={"weight_decay": 0.0}),
    "decay 0.3": DEFAULT.model_copy(update={"weight_decay": 0.3}),
    "dead after 200": DEFAULT.model_copy(update={"dead_after": 200}),
    "auxiliary 1/8": DEFAULT.model_copy(update={"auxiliary_weight": 1 / 8}),
    "rate 5e-3": DEFAULT.model_copy(update={"learning_rate": 5e-3}),
    "not nested": DEFAULT.model_copy(update={"nested": ()}),
    "random start": DEFAULT.model_copy(update={"start": "random"}),
    "all encode a step": DEFAULT.model_copy(update={"encoding": "all"}),
    "published": PUBLISHED,
}


def judged(label: str, recipe: Recipe, feed: Feed, held: PairedTokens, steps: int) -> Measures:
    """Fit a variant, print its line and give what was measured."""
    settings = FitSettings(n_concepts=512, k=12, steps=steps, batch=2048, recipe=recipe)
    usae = new_usae(feed.widths, settings, grid=(14, 14))
    began = clocks()
    fit_tokens(feed, settings, usae)
    _, seconds = since(began)
    measures = Measures(usae)
    measures.add(PairedTokens({name: held.tokens[name] for name in usae.names}, held.numbers), 0)
    statistics, summary = measures.firing.statistics(), r2_summary(measures.whole().r2)
    live = ", ".join(f"{1 - share:.2f}" for share in statistics.dead_share.tolist())
    entropy = statistics.firing_entropy[statistics.fires.amax(0) > 0].mean().item()
    off = "" if summary["off_diagonal"] is None else f"{summary['off_diagonal']:.3f}"
    print(f"{label:22s} {off:>12s} {summary['diagonal']:9.3f} {entropy:8.3f} {live:>17s} {seconds:8.0f}", flush=True)
    return measures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", type=Path, help="folder with the stores `train` and `held`")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    chosen = parser.parse_args()
    train, held = (StoreFeed(ActivationStore(chosen.stores / name), 1e10) for name in ("train", "held"))
    tokens = held.first_window()
    print(f"{chosen.steps} steps{'':13s} off-diagonal  diagonal  entropy  live ({', '.join(train.widths)})  seconds")
    for number, label in enumerate(chosen.only):
        measures = judged(label, VARIANTS[label], train, tokens, chosen.steps)
        if number == 0:
            found = ceiling_figures(measures.ceiling, measures.whole().r2)
            assert found is not None
            print(f"  a dense linear map: {found['mean']:.3f} off the diagonal; this {found['mean_share']:.0%} of it")
    judged("dino alone", DEFAULT, OneBackbone(train, "dino"), tokens, chosen.steps)


if __name__ == "__main__":
    main()
