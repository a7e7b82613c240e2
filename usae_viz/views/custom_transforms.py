"""Views through custom transforms, in the place of the augmentation or around it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from usae_train.runtime.errors import UsageError
from usae_viz.custom_code.part import CustomPart, failing_at
from usae_viz.custom_code.seeding import seeded_by
from usae_viz.views.augmentation import augmented_views
from usae_viz.views.presets import AUGMENTATION, Augmentation, Transform

TRANSFORM = "transform"


def transformed_views(
    canvas: Tensor,
    transforms: Sequence[Transform],
    augmentation: Augmentation,
    generators: Sequence[torch.Generator],
    n_views: int,
    size: int,
) -> Tensor:
    """Show canvases as the backbones will see them, through a list of transforms, in its order.

    Each is called as `transform(views, generator)`, with the views (n_views, 3, h, w) of one picture, and the picture's
    own generator, which also seeds what torch draws meanwhile. Without `augmentation` in the list they begin as
    the whole canvas; with it, what stands before it is given the canvas, (1, 3, H, W), what stands behind it the views.

    Args:
        canvas: (n, 3, H, W), 0..1.
        transforms: in their order; `augmentation` stands for the built-in one.
        augmentation: the built-in one.
        generators: one per canvas; equal states give equal draws.
        n_views: views per canvas.
        size: side of a view in pixels, to which they are resized at the end.

    Returns:
        (n, n_views, 3, size, size).

    Raises:
        PartFailed: for a transform that fails, or gives what no views are; says of which canvas.
    """
    transformed = []
    for row, (single_canvas, generator) in enumerate(zip(canvas.split(1), generators, strict=True)):
        views = single_canvas if AUGMENTATION in transforms else single_canvas.expand(n_views, -1, -1, -1)
        for transform in transforms:
            if isinstance(transform, CustomPart):
                with failing_at(row):
                    views = _through(transform, views, generator)
            else:
                views = augmented_views(views, augmentation, [generator], n_views, size)[0]
        transformed.append(_resized(views, size))
    return torch.stack(transformed)


def _through(transform: CustomPart, views: Tensor, generator: torch.Generator) -> Tensor:
    """What a transform makes of views (views, 3, h, w): as many, of any size."""
    with transform.guarded(TRANSFORM), seeded_by(generator, views.device):
        result: Tensor = transform.ready(TRANSFORM)(views, generator)
    if (why := _wrong(views, result)) is not None:
        raise UsageError(f"{TRANSFORM} {transform.text!r} {why}")
    return result


def _wrong(views: Tensor, result: object) -> str | None:
    """Why something is not what a transform may make of views; None where it is."""
    expected = f"expected {len(views)} views, ({len(views)}, 3, height, width)"
    if not isinstance(result, Tensor):
        return f"gives {type(result).__name__}; {expected}"
    if result.ndim != 4 or result.shape[:2] != views.shape[:2] or not result.numel():
        return f"gives shape {tuple(result.shape)} for {tuple(views.shape)}; {expected}"
    if not result.is_floating_point():
        return f"gives {str(result.dtype).removeprefix('torch.')}; expected floating-point numbers"
    if result.device != views.device:
        return f"gives views on {result.device}; those that it was given are on {views.device}"
    if not result.isfinite().all():
        return "gives numbers that are not finite"
    if views.requires_grad and not result.requires_grad:
        return "gives views that do not depend on the picture: no gradient flows back through them"
    return None


def _resized(views: Tensor, size: int) -> Tensor:
    """Views (views, 3, h, w) of one size; those that have it stay as they are."""
    if views.shape[2:] == (size, size):
        return views.float()
    return functional.interpolate(views.float(), (size, size), mode="bilinear", antialias=True, align_corners=False)
