"""Settings about images: how many of them are taken, and how their mean spectrum is measured."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from usae_train.files.validation import Settings
from usae_train.runtime.shortage import MAX_COUNT

Limit = Annotated[
    int | None,
    Field(ge=1, le=MAX_COUNT, description="take at most this many pictures, drawn from all, the same ones each time"),
]

IMAGE_BATCH = 32
ImageBatch = Annotated[int, Field(ge=1, description="pictures per forward pass")]
MaxBroken = Annotated[
    float, Field(ge=0, le=1, description="largest share of the pictures that may be unreadable before it stops")
]
Readers = Annotated[int, Field(ge=0, le=256, description="processes that read pictures; 0 reads in this one")]

LabelColumn = Annotated[
    str | None,
    Field(description="column of a dataset that holds each picture's class; by default its only column of classes"),
]


class SpectrumSettings(Settings):
    """How the mean Fourier magnitude is measured."""

    size: int = Field(96, ge=16, le=2048, description="pixels per side of the canvas that each picture is read into")
    limit: Limit = None
    readers: Readers = 0
