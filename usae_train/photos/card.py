"""The card of `photos`: what it is and is not, how well it does, and how it was made."""

from __future__ import annotations

from dataclasses import dataclass

from usae_train.evaluation.metrics import Matrix
from usae_train.model.usae import USAE
from usae_train.training.settings import FitSettings


@dataclass(frozen=True)
class BuildReport:
    """What a build says of itself."""

    trained_on: int  # photographs
    held_out: int  # photographs that it was measured on
    r2: Matrix  # on those, around each feature's own mean, {from: {to: ...}}
    live: dict[str, int]  # {backbone: concepts that fire in a photograph that it was trained on}

    def in_words(self) -> list[str]:
        """A line per backbone."""
        return [
            f"{name}: {live} concepts fire; R² of held-out tokens, each feature around its own mean: "
            + ", ".join(f"{figure:.3f} to {target}" for target, figure in self.r2[name].items())
            for name, live in self.live.items()
        ]


def card(usae: USAE, settings: FitSettings, measured: BuildReport) -> str:
    """The README.md of its folder."""
    matrix = "\n".join(
        f"| from {source} | " + " | ".join(f"{measured.r2[source][target]:.3f}" for target in usae.names) + " |"
        for source in usae.names
    )
    live = ", ".join(f"{count} of {usae.n_concepts} in {name}" for name, count in measured.live.items())
    models = "\n".join(
        f"| {name} | `{spec.model}`, layer {spec.layer}, {spec.input_size} px | `{spec.weights}` |"
        for name, spec in usae.specs.items()
    )
    return f"""---
library_name: usae
tags: [universal-sparse-autoencoder, interpretability]
---
# photos: a universal sparse autoencoder over two real networks

{usae.n_concepts} concepts shared by {len(usae.widths)} ImageNet classifiers, {usae.k} active per patch, trained on
{measured.trained_on} photographs. It is there so that anybody can draw concepts of real networks in a minute, without a
GPU and from PyPI alone.

| backbone | model | weights (Apache-2.0; Google's, converted) |
| --- | --- | --- |
{models}

## What it is not

{measured.trained_on} crops of photographs are little: animals, food, monuments, landscapes and household things are
there, and people, text, streets, indoor scenes and much else are hardly. So it says what these two networks share on
such pictures, and not what they know. A concept's name was given by looking at the patches of those photographs in
which it is strongest; it says what is seen there, and has been tested on no labels. The two networks are of one family,
trained on the same pictures by the same recipe: what they share may be that.

No photograph is inside, nor the backbones' weights. Percentiles and top pictures are those of the training photographs.

## Figures

R² of tokens of {measured.held_out} photographs that it was not trained on, around each feature's own mean:

| | {" | ".join(f"to {name}" for name in usae.names)} |
| --- |{" --- |" * len(usae.names)}
{matrix}

Concepts that fire in some training photograph: {live}.

## How it was made

`usae-train photos TRAIN HELD --out DIR`, two folders of photographs of which none is in both: recipe
`{usae.recipe}`, {settings.steps} steps of {settings.batch} tokens, seed {settings.seed}, start seed
{settings.init_seed}; kept in half precision.

```python
import usae_train as ut

usae = ut.load("photos")
```

The method: Thasarathan et al., Universal Sparse Autoencoders, ICML 2025, arXiv 2502.03714.
"""
