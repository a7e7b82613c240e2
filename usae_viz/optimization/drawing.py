"""Pictures of one objective, drawn in one loop or, each the same to the bit, in several processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from usae_train.model.usae import USAE
from usae_train.runtime.progress import StepCallback
from usae_viz.custom_code.part import CustomPart
from usae_viz.export.animation import Snapshots
from usae_viz.objectives import Objective
from usae_viz.optimization.loop import CanvasSpec, OptimizationResult, Step, optimize
from usae_viz.parameterizations import CoupledImage, CustomImages, Parameterization, parameterization
from usae_viz.settings import SHARED, MaximizeSettings
from usae_viz.views.viewing import ViewConfig


@dataclass(frozen=True)
class DrawnCanvases:
    """What one loop came to: its canvases, in the order of the result's rows."""

    specs: Sequence[CanvasSpec]
    result: OptimizationResult
    snapshots: Snapshots | None


@dataclass(frozen=True)
class CanvasBatch:
    """Canvases that are drawn at once, and how.

    Attributes:
        view_config: how they are shown to the backbones.
        specs: which canvases.
        settings: resolved, for their objectives.
        start: (3, H, W), the picture to start from; None for noise.
        progress: called after each step with the number of steps done and {backbone: score}.
    """

    view_config: ViewConfig
    specs: Sequence[CanvasSpec]
    settings: MaximizeSettings
    start: Tensor | None
    progress: StepCallback


DrawTogether = Callable[[CanvasBatch], list[DrawnCanvases]]


def draw_together(batch: CanvasBatch) -> list[DrawnCanvases]:
    """Run the loop on a batch of canvases, in one part."""
    settings, specs = batch.settings, batch.specs
    snapshots = None if settings.snapshots is None else Snapshots()

    def on_step(step: Step) -> None:
        if snapshots is not None and settings.snapshots and (step.done - 1) % settings.snapshots == 0:
            snapshots.append(step.canvas)
        batch.progress(step.done, step.scores)

    assert settings.learning_rate is not None
    image: Parameterization | CustomImages | CoupledImage = starting_image(settings, [spec.seed for spec in specs])
    if batch.start is not None and not isinstance(image, CoupledImage):
        image.begin_at(batch.start.cpu())
    if settings.mode == "coupled" and isinstance(image, Parameterization):
        groups = {key: n for n, key in enumerate(dict.fromkeys((spec.objective, spec.seed) for spec in specs))}
        image = CoupledImage(image, [groups[spec.objective, spec.seed] for spec in specs])
    image.to(batch.view_config.usae.device)
    result = optimize(
        batch.view_config,
        image,
        specs,
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        patience=settings.patience,
        on_step=on_step,
    )
    return [DrawnCanvases(specs, result, snapshots)]


def starting_image(settings: MaximizeSettings, seeds: Sequence[int]) -> Parameterization | CustomImages:
    """Pictures as a drawing starts, from noise, by their seeds."""
    assert settings.size is not None
    if isinstance(settings.parameterization, CustomPart):
        return CustomImages(settings.parameterization, seeds, settings.size)
    return parameterization(
        settings.parameterization, seeds, settings.size, settings.spectrum, settings.decay, settings.contrast
    )


def canvas_specs(usae: USAE, objective: Objective, settings: MaximizeSettings) -> list[CanvasSpec]:
    """The canvases of one objective: seeds x (one per backbone, or one that all share)."""
    names = list(objective.backbones or usae.names)
    backbones_by_name = {SHARED: tuple(names)} if settings.mode == SHARED else {name: (name,) for name in names}
    seeds = range(settings.seed, settings.seed + settings.seeds)
    return [
        CanvasSpec(name if settings.seeds == 1 else f"{name}-seed-{seed}", objective, seed, backbones)
        for seed in seeds
        for name, backbones in backbones_by_name.items()
    ]


def image_groups(images: int, objective: Objective, settings: MaximizeSettings, limit: int) -> list[range]:
    """Which pictures of an objective may be drawn apart, in at most `limit` groups of about equal size.

    Not those that look at each other, and not where the frames of one wait for another that has not settled yet.
    """
    together = objective.whole_batch or settings.mode == "coupled" or settings.snapshots is not None
    count = 1 if together else max(1, min(limit, images))
    cuts = [images * number // count for number in range(count + 1)]
    return [range(first, last) for first, last in pairwise(cuts)]
