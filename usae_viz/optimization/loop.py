"""The one maximization loop. Modes, parameterizations, augmentations and objectives are parts that it is handed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from usae_train.backbones.common_sizes import largest_input
from usae_train.runtime.transfers import index_of, read_numbers
from usae_viz.custom_code.part import ImageError, PartFailed
from usae_viz.objectives import Activations, InvalidObjective, Objective, score
from usae_viz.optimization.convergence import BestCanvas, ConvergenceMonitor
from usae_viz.views.viewing import ViewConfig, encode_views, views_of

VIEWS_SEED = 0xA06  # so that the views' random numbers are not those of the picture's start


@dataclass(frozen=True)
class CanvasSpec:
    """One canvas to be drawn."""

    name: str  # a backbone, or `shared`
    objective: Objective
    seed: int
    backbones: tuple[str, ...]  # the backbones whose scores count


@dataclass(frozen=True)
class Step:
    """What is known after a step."""

    done: int
    scores: dict[str, float]  # {backbone: mean score of the pictures it sees}
    canvas: Tensor = field(repr=False)  # (pictures, 3, H, W), as the step found it


class InvalidImageScore(ImageError):
    """A picture, or its score, that is not finite, has no gradient or is of the wrong shape."""


@dataclass(frozen=True)
class OptimizationResult:
    """What the loop leaves."""

    canvas: Tensor  # (pictures, 3, H, W), 0..1
    attention: Tensor  # (pictures, H, W): sum over steps of |dL/dx|, as a share of its largest value
    steps: int
    converged_after: list[int]  # for each picture, the steps after which its score had settled; 0 where it had not
    ended: str | None = None  # why it ended before the last step, unless all have settled
    cut_short: bool = False  # whether Ctrl-C or the objective ended it
    failed_row: int | None = None  # of the picture whose objective ended it


def optimize(
    view_config: ViewConfig,
    image: nn.Module,
    specs: Sequence[CanvasSpec],
    *,
    steps: int,
    learning_rate: float,
    patience: int | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
) -> OptimizationResult:
    """Optimize every picture for its objective through the backbones that see it, all in the same steps.

    Ctrl-C, a score that is not finite or not one per picture, custom code that fails, and a score that has
    settled end the loop early; all but the last keep the best canvases so far.

    Raises:
        PartFailed: for a custom transform or parameterization that fails at the first step.
        InvalidImageScore: for a score of the wrong shape, or one that is not finite or has no gradient, at the first
            step.
    """
    generators = [torch.Generator().manual_seed(spec.seed + VIEWS_SEED) for spec in specs]
    optimizer = torch.optim.Adam([p for p in image.parameters() if p.requires_grad], lr=learning_rate)
    # full rate for the first quarter, then down to almost nothing: the last steps take noise out of the pictures
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 4 / 3 * (1 - step / steps) + 0.02))
    best, monitor, attention, done = BestCanvas(), ConvergenceMonitor(patience), torch.zeros(()), 0
    try:
        while done < steps and not monitor:
            picture = image()
            canvas = monitor.freeze_converged(picture.detach())
            gradient, scores = compute_gradients(view_config.at(done / steps), picture.detach(), specs, generators)
            optimizer.zero_grad(set_to_none=True)
            picture.backward(-gradient)  # the one place where a score to be made large becomes something to descend
            optimizer.step()
            schedule.step()
            done += 1
            attention = attention + monitor.mask_converged(gradient.abs().mean(1))
            best.update(canvas, total_scores(scores))
            monitor.update(total_scores(scores))
            on_step(Step(done, {name: values.nanmean().item() for name, values in scores.items()}, canvas))
        with torch.no_grad():
            last = monitor.freeze_converged(image())
        if (row := _not_finite(last, range(len(specs)))) is not None:  # no further step checks what the last one left
            raise InvalidImageScore(row, f"the picture of {specs[row].name} is not finite")
    except (KeyboardInterrupt, ImageError) as reason:
        if best.canvas is None and isinstance(reason, PartFailed):
            raise  # its message has the fix
        row = None if isinstance(reason, KeyboardInterrupt) else reason.row
        why = f"stopped by hand after {done} of {steps} steps" if row is None else f"{reason} at step {done}"
        if best.canvas is None and row is not None:
            raise InvalidImageScore(row, f"{why}; check the objective {specs[row].objective}") from reason
        if best.canvas is None:
            raise
        why = f"{why}; the best so far is kept"
        return OptimizationResult(
            best.canvas, share_of_largest(attention), done, monitor.converged_after.tolist(), why, True, row
        )
    return OptimizationResult(last, share_of_largest(attention), done, monitor.converged_after.tolist())


def compute_gradients(
    view_config: ViewConfig, canvas: Tensor, specs: Sequence[CanvasSpec], generators: Sequence[torch.Generator]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Show every canvas to the backbones that see it; the gradient of its score, and the score.

    With a `statistics_weight`, that weight times how unnatural a backbone's features are is subtracted from its score.

    Each backbone's gradient on a canvas is scaled to norm 1 before they are summed, so that none drowns the others.
    A GPU is waited for at the end, once.

    Returns:
        gradient (pictures, 3, H, W); scores {backbone: (pictures,)} in the processor's memory, NaN for a picture that
        the backbone does not see.

    Raises:
        InvalidImageScore: for a picture or a score that is not finite, or a score of the wrong shape; says
            through which backbone. Also for a score that has no gradient.
        PartFailed: for a custom transform that fails.
    """
    gradient, scores = torch.zeros_like(canvas), dict[str, Tensor]()
    batches = batch_rows(specs, view_config.batch_size)
    for number, rows in enumerate(batches, 1):
        places, of_batch = index_of(rows, canvas.device), [specs[row] for row in rows]
        with _among(rows):
            gradients, values = _batch_gradients(
                view_config, canvas[places], of_batch, [generators[row] for row in rows]
            )
        for name, of_name in values.items():
            scores.setdefault(name, canvas.new_full((len(specs),), torch.nan))[places] = of_name
        if gradients is None:
            read_scores(canvas, scores, specs, batches[:number])
            why = f"objective {specs[rows[0]].objective} does not depend on the picture: its score has no gradient"
            raise InvalidImageScore(rows[0], why)
        gradient[places] = gradients
    return gradient, read_scores(canvas, scores, specs, batches)


def _batch_gradients(
    view_config: ViewConfig, canvas: Tensor, specs: Sequence[CanvasSpec], generators: Sequence[torch.Generator]
) -> tuple[Tensor | None, dict[str, Tensor]]:
    """As `compute_gradients`, of canvases (batch, 3, H, W) seen by the same backbones; None without a gradient."""
    networks, names = view_config.usae.backbones, specs[0].backbones
    canvas = canvas.clone().requires_grad_()
    # kornia before 0.9 fails on colours that are NaN: on a GPU, where that is not known yet, 0 is shown
    if canvas.device.type == "cpu":
        read_scores(canvas, {}, specs, [range(len(specs))])
    finite = canvas if canvas.device.type == "cpu" else canvas.nan_to_num(0.0, 0.0, 0.0)
    views, reference = views_of(view_config, finite, generators, largest_input(networks))
    gradient, depends, scores = torch.zeros_like(canvas), False, dict[str, Tensor]()
    for name in names:
        classifies = any(name in spec.objective.classifies for spec in specs)
        acts = encode_views(view_config, networks[name], canvas, views, reference, len(names) > 1, classifies)
        values = image_scores(acts, [spec.objective for spec in specs])
        if values.requires_grad:  # an objective of another backbone is a constant here
            if acts.unnaturalness is not None:
                values = values - view_config.statistics_weight * acts.unnaturalness
            (through,) = torch.autograd.grad(values.sum(), canvas, retain_graph=True)
            gradient += through / through.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
            depends = True
        scores[name] = values.detach()
        del acts, values  # or they would take memory beside the next backbone's
    return gradient if depends else None, scores


def read_scores(
    canvas: Tensor, scores: dict[str, Tensor], specs: Sequence[CanvasSpec], batches: Sequence[Sequence[int]]
) -> dict[str, Tensor]:
    """Scores {backbone: (pictures,)} in the processor's memory; a GPU is waited for once.

    Raises:
        InvalidImageScore: for the first picture of the batches that is not finite, or has a score that is not.
    """
    finite, *numbers = read_numbers(canvas.isfinite().flatten(1).all(1), *scores.values())
    on_cpu = {name: torch.tensor(values, dtype=canvas.dtype) for name, values in zip(scores, numbers, strict=True)}
    for rows in batches:
        if (row := next((row for row in rows if not finite[row]), None)) is not None:
            raise InvalidImageScore(row, f"the picture of {specs[row].name} is not finite")
        for name in (name for name in specs[rows[0]].backbones if name in on_cpu):
            if (row := _not_finite(on_cpu[name][rows], rows)) is not None:
                raise InvalidImageScore(row, f"the score through {name} is not finite")
    return on_cpu


def batch_rows(specs: Sequence[CanvasSpec], batch_size: int) -> list[list[int]]:
    """Rows of pictures that go through a backbone in one batch: seen by the same backbones, up to `batch_size`.

    Pictures whose objective depends on the whole batch stay together. With a `batch_size` of 1 a picture is the same to
    the bit whatever else is drawn beside it: a matrix product of another height rounds differently.
    """
    batches: list[list[int]] = []
    for backbones in dict.fromkeys(spec.backbones for spec in specs):
        rows = [row for row, spec in enumerate(specs) if spec.backbones == backbones]
        alone = [row for row in rows if not specs[row].objective.whole_batch]
        batches += [alone[first : first + batch_size] for first in range(0, len(alone), batch_size)]
        for objective in dict.fromkeys(specs[row].objective for row in rows if row not in alone):
            batches.append([row for row in rows if specs[row].objective is objective])
    return batches


@contextmanager
def _among(rows: Sequence[int]) -> Iterator[None]:
    """An error within it about one of a batch's canvases names its row among all of them."""
    try:
        yield
    except ImageError as wrong:
        raise type(wrong)(rows[wrong.row], str(wrong)) from wrong


def image_scores(acts: Activations, objectives: Sequence[Objective]) -> Tensor:
    """(batch,): the score of each picture by its own objective; each objective is called once for all of its own.

    Raises:
        InvalidImageScore: for a score of the wrong shape.
    """
    scores = acts.tokens.new_zeros(len(objectives))
    for objective in dict.fromkeys(objectives):
        places = [place for place, other in enumerate(objectives) if other is objective]
        try:
            scores[index_of(places, scores.device)] = score(objective, acts.of_rows(places))
        except InvalidObjective as error:
            raise InvalidImageScore(places[0], str(error)) from error
    return scores


def _not_finite(values: Tensor, rows: Sequence[int]) -> int | None:
    """The first of rows whose values (batch, ...) are not all finite."""
    finite = values.detach().isfinite().reshape(len(values), -1).all(1)
    return next((row for row, fine in zip(rows, finite.tolist(), strict=True) if not fine), None)


def total_scores(scores: dict[str, Tensor]) -> Tensor:
    """(pictures,): the sum over the backbones that see a picture."""
    return torch.stack(list(scores.values())).nansum(0)


def share_of_largest(attention: Tensor) -> Tensor:
    """(pictures, H, W), each divided by its largest value."""
    return attention / attention.amax((1, 2), keepdim=True).clamp_min(1e-12)
