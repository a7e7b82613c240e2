"""How views can be drawn, and the presets; what draws them is in augmentation.py. No torch: command lines read it."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from usae_train.files.validation import OneLineErrorModel
from usae_train.runtime.errors import UsageError
from usae_viz.custom_code.part import CustomPart

AUGMENTATION: Literal["augmentation"] = "augmentation"  # in a list of transforms: the built-in one
Transform = CustomPart | Literal["augmentation"]
WHOLE_SHARE = 0.6  # of the side: a crop of it still shows what the whole is of
Crop = tuple[float, float]
CROP_OF_FEATURES: Crop = (0.5, 1.0)
CROP_OF_CLASSES: Crop = (0.2, 1.0)


class Augmentation(OneLineErrorModel):
    """How views are drawn from a canvas. Shares are of the canvas's side; but for `crop`, ranges are drawn from
    uniformly.

    Example:
        >>> import torch
        >>> from usae_viz.views.augmentation import augmented_views
        >>> gentle = Augmentation(crop=(0.8, 1.0), rotate=5)
        >>> canvas = torch.rand(1, 3, 64, 64)
        >>> augmented_views(canvas, gentle, [torch.Generator().manual_seed(0)], n_views=4, size=32).shape
        torch.Size([1, 4, 3, 32, 32])
    """

    model_config = ConfigDict(allow_inf_nan=False)

    crop: Crop | None = Field(
        None,
        description="side of the crop, smallest and largest share; by default 0.2 to 1 for a class, with a start, and "
        "for what compares with a picture; 0.5 to 1 for all else",
    )
    crop_normal: tuple[float, float] | None = Field(
        None, description="mean and standard deviation of the crop's side, cut off at `crop`; instead of `scales`"
    )
    scales: Literal["uniform", "even"] = Field(
        "even",
        description="how the sides are drawn from `crop`: each by chance; or one from each of as many parts as there "
        "are crops, equal on a logarithmic scale, so that every step sees large and small ones",
    )
    shift: float | None = Field(
        None,
        ge=0,
        le=0.5,
        description="further shift of a crop, largest share of its own side; half of the largest patch by default",
    )
    rotate: float = Field(5.0, ge=0, le=180, description="largest rotation, degrees either way")
    brightness: float = Field(0.0, ge=0, le=1, description="largest change, either way")
    contrast: float = Field(0.0, ge=0, le=1, description="largest change, either way")
    saturation: float = Field(0.0, ge=0, le=1, description="largest change, either way")
    noise: float = Field(
        0.1, ge=0, le=1, description="largest standard deviation of the added noise, of the 0..1 range"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Augmentation:
        low, high = self.crop_range
        if not 0 < low <= high <= 1:
            raise UsageError(f"crop is {self.crop}; expected two shares with 0 < smallest <= largest <= 1")
        if self.crop_normal is not None and not all(0 <= share <= 1 for share in self.crop_normal):
            raise UsageError(f"crop_normal is {self.crop_normal}; expected a mean and a standard deviation of 0 to 1")
        return self

    @property
    def crop_range(self) -> Crop:
        """Smallest and largest share of the side: `crop`, or where it is left open that of a feature."""
        return self.crop or CROP_OF_FEATURES

    def of_the_whole(self) -> Augmentation:
        """The same with crops of no less than `WHOLE_SHARE` of the side; what never shows so much stays as it is."""
        low, high = self.crop_range
        if self.crop_normal is not None or high <= WHOLE_SHARE:
            return self
        return self.model_copy(update={"crop": (max(low, WHOLE_SHARE), high)})

    def for_patches(self, share: float) -> Augmentation:
        """The same with the shift filled in: half of a patch that covers a share of a view's side.

        A shift of less leaves every patch's borders where they are, which shows as a grid in the picture.
        """
        return self if self.shift is not None else self.model_copy(update={"shift": min(share / 2, 0.5)})


# `default`: chosen on real networks. Classes (tests/benchmarks/real_reader.py; four of them, probability for the whole
# and for crops of 0.7, 0.5 and 0.3): crops from 0.2 of the side 0.98, 0.98, 0.91, 0.60, from 0.15 0.75, 0.91, 0.91,
# 0.50; of 0.6 to 1 alone 0.98, 0.91, 0.52, 0.04; noise of up to 0.05 for 0.15 0.92, 0.96, 0.81, 0.55; turned by up to 5
# degrees in colours that stay, for 10 and colours that change, 0.98, 0.99, 0.97, 0.60. Concepts
# (tests/benchmarks/crops.py has the table): crops from 0.5 have larger codes than from 0.2, for the whole and for crops
# of 0.7, and for crops of 0.5 within 3% as large ones or larger, in the demo as in three real networks. `maco`: crops
# of N(0.25, 0.1) of the side and uniform noise within 0.1, here normal noise with the same root mean square (Fel et al.
# 2023, section 4); it is meant for canvases several times the backbones' input. `lucid`: small jitter, rotation and
# scale around the whole canvas (lucid's standard transforms).
AUGMENTATION_PRESETS: dict[str, Augmentation] = {
    "default": Augmentation(),
    "maco": Augmentation(crop=(0.05, 1.0), crop_normal=(0.25, 0.1), rotate=0, noise=0.1),
    "lucid": Augmentation(crop=(0.9, 1.0), scales="uniform", shift=0.08, rotate=5, noise=0),
    "none": Augmentation(crop=(1, 1), shift=0, rotate=0, noise=0),
}


# What pictures are verified under, and nothing is drawn under: other generators, no noise, gentler ranges, as a
# person sees them.
HELD_OUT = Augmentation(
    crop=(0.75, 0.98), scales="uniform", shift=0.03, rotate=4, brightness=0.03, contrast=0.05, saturation=0.05, noise=0
)
