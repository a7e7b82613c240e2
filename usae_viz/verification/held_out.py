"""What backbones make of canvases under views that no picture is optimized on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from usae_train.model.sparse import Codes, joined_codes
from usae_train.model.usae import USAE
from usae_viz.views.augmentation import augmented_views
from usae_viz.views.presets import HELD_OUT, Augmentation
from usae_viz.views.viewing import ViewConfig, encode_views

VIEWS = 8  # with 32 the codes of six demo pictures, 8 to 12, moved by at most 0.17
HELD_OUT_SEED = 0x5EED  # added to the run's seed, so that a run is verified under draws that it did not optimize under
# A verdict is given on nearly the whole picture (`HELD_OUT`: 0.75 to 0.98 of the side). A picture should be right at
# every scale that a person looks at, so figures for closer crops are given too, in the backbones it was drawn for.
CLOSER_SHARES = (0.7, 0.5)
CLOSER_VIEWS = 4  # each


def held_out_codes(
    usae: USAE, backbone: str, canvases: Tensor, seed: int, n_views: int = VIEWS, augmentation: Augmentation = HELD_OUT
) -> Codes:
    """Codes (image, view, token, k) of canvases (image, 3, H, W) under views that no picture is optimized on."""
    codes = []
    for canvas, views in _held_out_views(usae, canvases, seed, n_views, augmentation):
        view_config = ViewConfig(usae, augmentation, n_views)
        codes.append(encode_views(view_config, usae.backbones[backbone], canvas, views).codes)
    return joined_codes(codes)


def held_out_probabilities(
    usae: USAE, backbone: str, canvases: Tensor, seed: int, n_views: int = VIEWS, augmentation: Augmentation = HELD_OUT
) -> Tensor:
    """(image, view, class): what a backbone's own classifier says of canvases (image, 3, H, W) under such views."""
    logits = [
        usae.backbones[backbone].logits(views.flatten(0, 1)).float()
        for _, views in _held_out_views(usae, canvases, seed, n_views, augmentation)
    ]
    return torch.stack(logits).softmax(-1)


def closer_views(share: float) -> Augmentation:
    """The held-out views, of just this share of the side."""
    return HELD_OUT.model_copy(update={"crop": (share, share)})


def _held_out_views(
    usae: USAE, canvases: Tensor, seed: int, n_views: int, augmentation: Augmentation
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each canvas (1, 3, H, W) and its views (1, view, 3, size, size), one by one.

    It takes less memory, and a picture's scores do not depend on the others.
    """
    size = usae.input_size
    for canvas in canvases.split(1):
        generator = torch.Generator().manual_seed(seed + HELD_OUT_SEED)
        yield canvas, augmented_views(canvas, augmentation, [generator], n_views, size)
