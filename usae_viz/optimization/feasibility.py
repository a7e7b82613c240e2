"""Whether settings can be drawn over a USAE: their parts, the size of crops, the memory that canvases take."""

from __future__ import annotations

import math

import torch

from usae_train.model.outline import check_concept
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.memory import present_memory
from usae_viz.custom_code.part import CustomPart
from usae_viz.optimization.batching import bytes_per_canvas, canvas_count
from usae_viz.optimization.checks import check_clashes, is_augmented
from usae_viz.settings import MAX_CANVAS_SIZE, MaximizeSettings


def check_feasible(usae: USAE, settings: MaximizeSettings, size: int) -> None:
    """Check settings, on canvases of `size` pixels per side, by what a USAE and this machine have.

    Raises:
        ValueError: for crops of less than one pixel of the canvas, more pictures than there is memory for, a concept
            to verify that is not there, statistics that no backbone has, or a setting of another parameterization.
    """
    if settings.verify is not None:
        check_concept(usae, settings.verify)
    _check_custom_parts(settings)
    _check_feature_statistics(usae, settings)
    if is_augmented(settings):
        _check_crops(size, settings.augmentation.crop_range[0])
    _check_canvases(usae, settings, size)


def _check_custom_parts(settings: MaximizeSettings) -> None:
    """Raise a ValueError for custom code that was not imported, or settings that clash (`check_clashes`)."""
    for transform in settings.transforms:
        if isinstance(transform, CustomPart):
            transform.ready("transform")
    if isinstance(settings.parameterization, CustomPart):
        settings.parameterization.ready("parameterization")
    check_clashes(settings)


def _check_crops(size: int, share: float) -> None:
    """Raise a ValueError where the smallest crop, a share of the side, is of less than a pixel: it shows nothing."""
    least = 1 / share
    if size < least:
        larger = f"raise --size to {math.ceil(least)}, or " if least <= MAX_CANVAS_SIZE else ""
        raise UsageError(
            f"crops from {share:g} of the side are less than a pixel wide on a canvas of {size} px; {larger}take an "
            "augmentation of larger crops"
        )


def _check_feature_statistics(usae: USAE, settings: MaximizeSettings) -> None:
    if settings.feature_statistics and not any(backbone.n_norms for backbone in usae.backbones.values()):
        raise UsageError(
            f"feature_statistics is {settings.feature_statistics:g}, and {' and '.join(usae.names)} have no batch norm "
            "whose statistics can be read; leave it out"
        )


def _check_canvases(usae: USAE, settings: MaximizeSettings, size: int) -> None:
    """Raise a ValueError where the pictures of one objective, which are drawn together, fit into no memory.

    This is checked before they are listed: a hundred million seeds would be as many names.
    """
    canvases = canvas_count(usae, settings)
    device = usae.device
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else present_memory()
    needed = canvases * bytes_per_canvas(size)
    if needed > memory:
        raise UsageError(
            f"{canvases} pictures of {size} px are drawn at the same time for {settings.seeds} seeds and need "
            f"{needed / 1e9:,.0f} GB of memory, and there is {memory / 1e9:.3g} GB; lower --seeds or --size"
        )
