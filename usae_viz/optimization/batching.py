"""How many pictures are drawn at once: as many as a limit of memory allows, measured, not guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from usae_train.backbones.backbone import Backbone
from usae_train.backbones.common_sizes import largest_input
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_viz.custom_code.part import CustomPart
from usae_viz.parameterizations import CustomImages
from usae_viz.settings import MIN_CANVAS_SIZE, SHARED, MaximizeSettings
from usae_viz.views.viewing import ViewConfig, encode_views

GPU_SHARE = 0.6  # of the memory that is free, unless a limit is given


def canvas_count(usae: USAE, settings: MaximizeSettings) -> int:
    """How many canvases an objective has that is asked of all backbones."""
    return settings.seeds * (1 if settings.mode == SHARED else len(usae.names))


def max_batch_size(
    view_config: ViewConfig, size: int, limit: float | None, canvases: int = 1, seeds: int = 1, compared: int = 1
) -> int:
    """How many pictures may go through a backbone in one batch, each of another objective.

    On the CPU it is one: a picture is then the same to the bit alone or in any company, and nothing is gained by more,
    since the views of one fill the cores.

    Args:
        view_config: how pictures are shown.
        size: side of a canvas, pixels.
        limit: GB; on a GPU a share of what is free by default.
        canvases: pictures per objective: they take turns in the backbones, but all are there all the time.
        seeds: how many of those are the same but for the seed.
        compared: how many of those a backbone has to be shown at once, for a score that compares them.

    Raises:
        ValueError: when not even one objective's fit; says what helps.
    """
    backbones, device = view_config.usae.backbones, view_config.usae.device
    if limit is None and device.type == "cpu":
        return 1
    if limit is None:
        limit = GPU_SHARE * torch.cuda.mem_get_info(device)[0] / 1e9
    needed = bytes_per_picture(view_config, backbones, size, canvases, compared)
    if needed > limit * 1e9:
        what = f"{canvases} pictures of one objective, {size} px" if canvases > 1 else f"one picture, {size} px"
        what += f", {compared} of which are compared in a backbone" if compared > 1 else ""
        least = bytes_per_picture(replace(view_config, n_views=1), backbones, MIN_CANVAS_SIZE, canvases // seeds)
        lower = _what_to_lower(view_config.n_views, size, seeds) if least <= limit * 1e9 else ""
        raise UsageError(
            f"{what}: about {needed / 1e9:.3g} GB with {view_config.n_views} views, and the limit is {limit:.3g}; "
            f"{lower}raise --memory"
        )
    if device.type == "cpu":
        return 1
    another = bytes_per_picture(view_config, backbones, size, 2 * canvases, 2 * compared) - needed
    return 1 + int((limit * 1e9 - needed) / another)


def _what_to_lower(n_views: int, size: int, seeds: int) -> str:
    """The beginning of the advice: what can be lowered; empty where all are as low as they go."""
    options = {"--views": (n_views, 1), "--size": (size, MIN_CANVAS_SIZE), "--seeds": (seeds, 1)}
    names = [name for name, (value, least) in options.items() if value > least]
    return f"lower {' or '.join(names)}, or " if names else ""


def bytes_per_picture(
    view_config: ViewConfig, backbones: Mapping[str, Backbone], size: int, canvases: int = 1, compared: int = 1
) -> int:
    """Bytes that pictures seen together keep until their gradient is known, and their canvases.

    The backbone that keeps most counts: what one more view takes, times the views, and once what it keeps besides.
    """
    largest = 0
    view = largest_input(backbones)
    for backbone in backbones.values():
        one_view, two_views = (_bytes_of_views(view_config, backbone, view, views) for views in (1, 2))
        largest = max(largest, 2 * one_view - two_views + compared * view_config.n_views * (two_views - one_view))
    views_bytes = compared * view_config.n_views * 4 * 3 * view**2 * 4
    return largest + views_bytes + canvases * (bytes_per_canvas(size) + view_config.canvas_bytes)


def bytes_per_canvas(size: int) -> int:
    """Bytes that a canvas with sides of `size` pixels takes all the time, whoever looks at it.

    The canvas, its spectrum, their gradients and Adam's two moments.
    """
    return 20 * 3 * size**2 * 4


@cache
def custom_image_bytes(part: CustomPart, size: int) -> int:
    """Bytes that autograd keeps of an image of a custom parameterization, besides its parameters.

    Raises:
        ValueError: as `CustomImages`.
    """
    return _bytes_saved(CustomImages(part, [0], size))


def _bytes_of_views(view_config: ViewConfig, backbone: Backbone, view: int, views: int) -> int:
    """Bytes that autograd keeps of a number of views through a backbone, besides its parameters."""
    canvases = torch.zeros(1, views, 3, view, view, device=view_config.usae.device, requires_grad=True)
    # the classifier as well, which an objective may ask for
    classifies = backbone.spec.classes > 0
    return _bytes_saved(lambda: encode_views(view_config, backbone, canvases[:, 0], canvases, classifies=classifies))


def _bytes_saved(compute: Callable[[], object]) -> int:
    """Bytes that autograd keeps of a computation, besides parameters, until its gradient is known."""
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    def unchanged(tensor: Any) -> Any:
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, unchanged):
        compute()
    return sum(saved.values())
