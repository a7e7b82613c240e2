"""Settings of an evaluation: what the command line takes, and what Python takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from usae_train.backbones.precision import BackbonesDtype
from usae_train.files.validation import Settings
from usae_train.images.settings import IMAGE_BATCH, ImageBatch, LabelColumn, Limit, Readers

Seed = Annotated[int, Field(ge=0, description="decides every random draw")]


class EvaluateSettings(Settings):
    """What a USAE is compared with, and how it is measured."""

    FORMER: ClassVar[Mapping[str, str]] = {
        "every": "checkpoint_minutes",
        "batch": "image_batch",
        "independent": "independent_saes",
    }

    independent_saes: Path | None = Field(
        None,
        description="folder of `usae-train fit --independent`: also measures what a shared space costs and gains",
    )
    other_seed: tuple[str, ...] = Field(
        (),
        description="a fit with another --seed or --init-seed, for stability; may be given more than once",
    )
    judge: str | None = Field(
        None,
        description="a network outside the USAE, which judges how alike the pictures are on which a concept fires: a "
        "timm id, or a YAML of specs and a name, `specs.yaml:dino`; `own:NAME` is one of the USAE's own",
    )
    answers: bool | None = Field(
        None,
        json_schema_extra={"option": "--answers/--no-answers"},
        description="measure how much of a classifier's answers survives the reconstruction of its tokens. By default "
        "where a backbone has a classifier",
    )
    label_column: LabelColumn = None
    image_batch: ImageBatch = IMAGE_BATCH
    limit: Limit = None
    fill: bool | None = Field(
        None,
        json_schema_extra={"option": "--fill/--no-fill"},
        description="write the statistics into the USAE's folder. By default if they cover at least as many pictures"
        " as those in it",
    )
    checkpoint_minutes: float = Field(2.0, ge=0, description="minutes between two states that can be resumed from")
    dtype: BackbonesDtype = "auto"
    seed: Seed = 0


class NameSettings(Settings):
    """Which pictures names are taken from."""

    label_column: LabelColumn = None
    limit: Limit = None
    readers: Readers = 0
    seed: Seed = 0
