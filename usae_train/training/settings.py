"""Settings of a fit: what the command line takes, what Python takes, and what config.json keeps."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from usae_train.backbones.backbone import RunIn
from usae_train.shortage import MOST

MAX_BROKEN = 0.01  # share of the pictures that may be unreadable before extraction or training stops
Settings = TypeVar("Settings", bound=BaseModel)


class Recipe(BaseModel):
    """How a USAE is trained.

    Kept are `published`, to the letter of the authors' code, and our `default`; and two controls, to read figures
    against chance: `frozen` (the default with random dictionaries that are never changed) and `shuffled` (the default
    on tokens of different images, paired as if they were the same).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "custom"
    standardization: Literal["scalar", "centred", "whitened"] = Field(
        "whitened", description="scalar: one mean and std a backbone; centred: less its mean token, all backbones of "
        "one root mean square norm; whitened: half of the way to white tokens besides",
    )  # fmt: skip
    batch_norm: bool = Field(False, description="BatchNorm between encoder and ReLU")
    offset: bool = Field(True, description="learn an offset a dictionary, started at the mean token")
    start: Literal["random", "tokens"] = Field("tokens", description="dictionary rows at the start: noise, or tokens")
    frozen: bool = Field(False, description="never change the dictionaries; a control")
    shuffled: bool = Field(False, description="pair tokens of different images; a control")
    tied: bool = Field(True, description="start the encoders at the dictionaries' transposes")
    projected: bool = Field(
        False, description="divide dictionary rows by their norm after a step, not within it (as overcomplete does)"
    )
    # free lengths, noise and the rate: tests/benchmarks/real_recipe.py and known_world.py have the tables
    unit_norm: bool = Field(
        False,
        description="dictionary rows of norm 1; otherwise a concept counts in each backbone as much as it is there",
    )
    noise: float = Field(
        0.4, ge=0, description="std of the noise that encoders alone see on tokens, in units of the tokens' own"
    )
    encoding: Literal["one", "share", "all"] = Field(
        "share", description="which backbones encode at a step: one drawn, all a share of the tokens each, or all all"
    )
    loss: Literal["absolute", "squared"] = "squared"
    nested: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.25,), description="shares of the concepts that must explain the tokens alone as well"
    )
    auxiliary: Literal["left_out", "dead", "none"] = "dead"
    auxiliary_weight: float = Field(1 / 32, ge=0, description="Gao et al. 2024, appendix A.2: 1/32")
    dead_after: int = Field(
        50, ge=1, description="steps without firing through a backbone after which a concept counts as dead there"
    )
    learning_rate: float = Field(1.5e-2, gt=0)
    final_learning_rate: float = Field(1e-5, ge=0)
    warm_up: float = Field(0.03, ge=0, le=1, description="share of the steps with a rising learning rate")
    weight_decay: float = Field(0.1, ge=0)
    batch: int = Field(4096, ge=1, description="tokens a step, unless the fit says otherwise")
    clip: float = Field(1.0, gt=0, description="largest gradient norm of an encoder-dictionary pair")


PUBLISHED = Recipe(
    name="published", standardization="scalar", batch_norm=True, offset=False, start="random", tied=False,
    unit_norm=True, noise=0.0, projected=True, encoding="one", loss="absolute", nested=(), auxiliary="left_out",
    auxiliary_weight=0.1, dead_after=200, learning_rate=3e-4, final_learning_rate=1e-6, warm_up=1 / 30,
    weight_decay=1e-5, batch=6272,
)  # fmt: skip
DEFAULT = Recipe(name="default")
FROZEN = Recipe(name="frozen", frozen=True, start="random")
SHUFFLED = Recipe(name="shuffled", shuffled=True)
RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (DEFAULT, PUBLISHED, FROZEN, SHUFFLED)}


class FitSettings(BaseModel):
    """Size and length of a fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_concepts: int = Field(6144, ge=1, le=MOST, description="size of the concept space (the paper: 6144)")
    k: int = Field(32, ge=1, description="concepts kept a token (the paper's code: 32)")
    steps: int = Field(10_000, ge=1, le=MOST, description="optimizer steps")
    batch: int = Field(4096, ge=1, le=MOST, description="tokens a step")
    seed: int = Field(0, ge=-(2**63), lt=2**64, description="decides every random draw, but for start_seed's")
    start_seed: int = Field(
        0,
        ge=0,
        lt=2**64,
        description="which tokens dictionaries start at; not seed's to say, so that other seeds come out alike",
    )
    dtype: RunIn = Field("auto", description="what the backbones run in; auto: bfloat16 on a GPU, float32 elsewhere")
    mask_outliers: bool = Field(False, description="leave patches out at which a backbone has a high-norm token")
    recipe: Recipe = DEFAULT
    max_broken: float = Field(
        MAX_BROKEN, ge=0, le=1, exclude=True,  # it decides nothing about the result: a resume may allow more
        description="largest share of the pictures that may be unreadable",
    )  # fmt: skip


def check_settings(model: type[Settings], **values: Any) -> Settings:
    """Check settings by name and value.

    Raises:
        ValueError: one line, with the nearest right name or what was expected.
    """
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        inner: Any = model
        for key in first["loc"][:-1]:  # settings of settings
            inner = getattr(getattr(inner, "model_fields", {}).get(key), "annotation", None)
        near = difflib.get_close_matches(str(first["loc"][-1]), getattr(inner, "model_fields", ()), n=1)
        hint = f"; did you mean {near[0]!r}?" if near and first["type"] == "extra_forbidden" else ""
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{name} = {first['input']!r}: {message}{hint}") from error
