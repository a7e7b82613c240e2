"""The one maximization loop. Modes, parameterizations, augmentations and objectives are parts that it is handed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from usae_train.backbones import Backbone
from usae_train.usae import USAE
from usae_viz.augmentations import Augmentation, views
from usae_viz.objectives import Activations, Objective, score
from usae_viz.parameterizations import Parameterization

VIEWS_SEED = 0xA06  # the views' stream is not the one that the picture starts from
Progress = Callable[[int, dict[str, float]], None]  # steps done, {backbone: mean score}


@dataclass(frozen=True)
class Picture:
    """One canvas to be drawn."""

    name: str  # a backbone, or `shared`
    objective: Objective
    seed: int
    seen_by: tuple[str, ...]  # the backbones whose scores count


def ascend(
    usae: USAE, image: Parameterization, pictures: Sequence[Picture], augmentation: Augmentation, *, steps: int,
    crops: int, learning_rate: float, dtype: torch.dtype = torch.float32,
    progress: Progress = lambda done, scores: None,
) -> Tensor:  # fmt: skip
    """Optimize every picture for its objective through the backbones that see it, all in the same steps.

    Each backbone's gradient on a canvas is scaled to norm 1 before they are summed, so that none drowns the others.

    Returns:
        (pictures, 3, H, W) canvases, 0..1.

    Raises:
        ValueError: for a score of the wrong shape, or one that is not finite (says which backbone and step).
    """
    backbones = usae.backbones
    size = max(backbone.input_size for backbone in backbones.values())
    generators = [torch.Generator().manual_seed(picture.seed + VIEWS_SEED) for picture in pictures]
    optimizer = torch.optim.Adam(image.parameters(), lr=learning_rate)
    # full rate for the first half, then down to almost nothing: the last steps take noise out of the pictures
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 2 * (1 - step / steps) + 0.02))
    for step in range(steps):
        drawn = image()
        canvas = drawn.detach().requires_grad_()
        shown = views(canvas, augmentation, generators, crops, size)
        uphill, scores = torch.zeros_like(canvas), {}
        for name, backbone in backbones.items():
            rows = [row for row, picture in enumerate(pictures) if name in picture.seen_by]
            if not rows:
                continue
            acts = perceive(usae, backbone, canvas[rows], shown[rows], dtype)
            values = picture_scores(acts, [pictures[row].objective for row in rows])
            if not values.isfinite().all():
                raise ValueError(f"the score through {name} is not finite at step {step}; lower the learning rate")
            if values.requires_grad:  # an objective of another backbone is a constant here
                (gradient,) = torch.autograd.grad(values.sum(), canvas, retain_graph=True)
                uphill += gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
            scores[name] = values.detach().mean().item()
        optimizer.zero_grad(set_to_none=True)
        drawn.backward(-uphill)  # the one place where a score to be made large becomes something to descend
        optimizer.step()
        schedule.step()
        progress(step + 1, scores)
    with torch.no_grad():
        return image()


def perceive(
    usae: USAE, backbone: Backbone, canvas: Tensor, shown: Tensor, dtype: torch.dtype = torch.float32
) -> Activations:
    """What a backbone makes of views (batch, crop, 3, size, size) of canvases (batch, 3, H, W), run in a dtype."""
    with torch.autocast(shown.device.type, dtype, enabled=dtype != torch.float32):
        tokens = backbone(shown.flatten(0, 1), usae.grid).float()
    return Activations(usae, backbone.name, canvas, shown, tokens.unflatten(0, shown.shape[:2]))


def picture_scores(acts: Activations, objectives: Sequence[Objective]) -> Tensor:
    """(batch,): each picture's score by its own objective, which is called once for all pictures that have it."""
    values = acts.tokens.new_zeros(len(objectives))
    for objective in dict.fromkeys(objectives):
        rows = [row for row, own in enumerate(objectives) if own is objective]
        part = Activations(acts.usae, acts.backbone, acts.canvas[rows], acts.views[rows], acts.tokens[rows])
        values[rows] = score(objective, part)
    return values
