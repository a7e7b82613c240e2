"""Pictures of whole numbers in another range than 0..255, as scanners, microscopes and numpy write them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT, TiffImageFile

from usae_train.runtime.errors import UsageError

# TIFF 6.0, sections 8 and 19. MaxSampleValue may be a mere statistic, but not where it is all ones: then it says how
# many of the bits are used (4095: 12 of 16).
MAX_SAMPLE_VALUE, S_MIN_SAMPLE_VALUE, S_MAX_SAMPLE_VALUE = 281, 340, 341
SIGNED = 2  # of SampleFormat
WHITE_IS_ZERO = 0  # of PhotometricInterpretation


class Levels(NamedTuple):
    """Which numbers of a grey picture are black and white."""

    black: int
    white: int
    bits: int = 16
    signed: bool = False


def levels_of(picture: Image.Image) -> Levels | None:
    """What to scale a picture's numbers by, as its file says; None for one of 0..255.

    Raises:
        ValueError: for numbers of a range that the file does not say, or of which PIL keeps too little.
    """
    if picture.mode == "F":
        raise UsageError("its pixels are floating-point numbers of unknown range; convert it to 8 bits per channel")
    tags: Any = picture.tag_v2 if isinstance(picture, TiffImageFile) else {}
    bits, signed = _first(tags, BITSPERSAMPLE, 16), _first(tags, SAMPLEFORMAT, 1) == SIGNED
    low, high = _stated(tags, bits)
    if picture.mode.startswith("I") or (picture.mode == "L" and signed):
        if high is None and not signed and bits <= 16:
            high = 2**bits - 1
        if high is None or (low is None and signed):
            kind = f"{'signed ' if signed else ''}whole numbers of {bits} bits"
            raise UsageError(f"its pixels are {kind} of unknown range; convert it to 8 bits per channel")
        if (low or 0) >= high:
            raise UsageError(f"its numbers are to reach from {low or 0} to {high}; convert it to 8 bits per channel")
        ends = (low or 0, high) if _first(tags, PHOTOMETRIC_INTERPRETATION, 1) != WHITE_IS_ZERO else (high, low or 0)
        return Levels(*ends, bits, signed)
    if bits > 8 and high is not None and high < 2**bits - 1:  # PIL has taken the upper 8 bits
        raise UsageError(f"its colours reach to {high}, of {2**bits - 1}; convert it to 8 bits per channel")
    return None


def to_eight_bits(picture: Image.Image, levels: Levels) -> Image.Image:
    """A picture of `levels` in grey of 8 bits; what is beyond black or white becomes black or white."""
    numbers = np.asarray(picture)
    if levels.signed and levels.bits == 8:
        numbers = numbers.view(np.int8)
    elif not levels.signed and levels.bits == 32:  # PIL takes them as signed
        numbers = numbers.view(np.uint32)
    deep: np.ndarray[Any, np.dtype[np.floating]] = numbers.astype(np.float64 if levels.bits == 32 else np.float32)
    scaled = (deep - levels.black) * (255 / (levels.white - levels.black))
    return Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8))


def _stated(tags: Any, bits: int) -> tuple[int | None, int | None]:
    """The smallest and the largest number by the file; None for what it does not say."""
    low, high = _first(tags, S_MIN_SAMPLE_VALUE, None), _first(tags, S_MAX_SAMPLE_VALUE, None)
    most = _first(tags, MAX_SAMPLE_VALUE, None)
    if high is None and most is not None and 8 < most.bit_length() < bits and most & (most + 1) == 0:
        high = most
    return low, high


def _first(tags: Any, tag: int, otherwise: Any) -> Any:
    """A tag's first value as a whole number; that of the other channels is taken to be the same."""
    try:
        value = tags.get(tag, otherwise)
        value = value[0] if isinstance(value, tuple) and value else value
        return value if value is None else int(value)
    except Exception as error:  # PIL reads a tag when it is asked for, and a damaged one makes of it what it likes
        raise UsageError(f"its TIFF tag {tag} is not a whole number; save the picture again") from error
