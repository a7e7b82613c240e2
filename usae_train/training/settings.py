"""Settings of a fit: what the command line takes, what Python takes, and what config.json keeps."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal, TypedDict

from pydantic import Field, model_validator

from usae_train.backbones.precision import BackbonesDtype, ComputeDtype
from usae_train.files.validation import Settings
from usae_train.images.failures import MAX_BROKEN
from usae_train.images.settings import Limit, MaxBroken, Readers
from usae_train.runtime.errors import UsageError
from usae_train.runtime.shortage import MAX_COUNT
from usae_train.training.setting_types import Beta, DictionaryName, Fractions, Matryoshka, SparsityName


class TrainingRecipe(Settings):
    """How a USAE is trained.

    There are `published`, which follows the authors' code to the letter, and our `default`; and two controls, to
    compare figures with chance: `frozen` (the default with random dictionaries that are never changed) and `shuffled`
    (the default on tokens of different images, paired as if they were the same).
    """

    FORMER: ClassVar[Mapping[str, str]] = {
        "nested": "matryoshka_fractions",
        "start": "dictionary_init",
        "projected": "renormalize",
        "clip": "max_grad_norm",
    }

    name: str = "custom"
    standardization: Literal["scalar", "centred", "whitened"] = Field(
        "whitened",
        description="scalar: one mean and std per backbone; centred: less its mean token, all backbones of one root"
        " mean square norm; whitened: half of the way to white tokens besides",
    )
    batch_norm: bool = Field(False, description="BatchNorm between encoder and ReLU")
    offset: bool = Field(True, description="learn an offset per dictionary, started at the mean token")
    dictionary_init: Literal["random", "tokens"] = Field(
        "tokens", description="dictionary rows at the start: noise, or tokens"
    )
    frozen: bool = Field(False, description="never change the dictionaries; a control")
    shuffled: bool = Field(False, description="pair tokens of different pictures; a control")
    tied: bool = Field(True, description="start the encoders at the dictionaries' transposes")
    renormalize: bool = Field(
        False, description="divide dictionary rows by their norm after a step, not within it (as overcomplete does)"
    )
    # free lengths, noise, the rate, betas, the auxiliary weight: real_recipe.py and known_world.py of tests/benchmarks
    unit_norm: bool = Field(
        False,
        description="dictionary rows of norm 1; otherwise a concept counts in each backbone as much as it is there",
    )
    noise: float = Field(
        0.4, ge=0, description="std of the noise that encoders alone see on tokens, in units of the tokens' own"
    )
    encoding: Literal["one", "share", "all"] = Field(
        "share",
        description="which backbones encode at a step: a drawn one; all, on a share of the tokens each; all, on all",
    )
    loss: Literal["absolute", "squared"] = "squared"
    own_weight: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="weight of the error of a backbone's tokens decoded from its own codes; from others' codes it is 1",
    )
    matryoshka_fractions: Fractions = Field(
        (0.25,), description="rising shares of the concepts that must also explain the tokens alone"
    )
    matryoshka: Matryoshka = Field(
        "fixed",
        description="those shares at every step, or as many new ones drawn at each, between the least of them and all",
    )
    sparsity: SparsityName = Field("topk", description="which concepts of a token are active")
    dictionary: DictionaryName = Field("free", description="what dictionary rows may be")
    auxiliary: Literal["left_out", "dead", "none"] = "dead"
    auxiliary_weight: float = Field(
        1 / 8, ge=0, description="weight of the auxiliary loss, of dead concepts; Gao et al. 2024: 1/32"
    )
    dead_after: int = Field(
        50, ge=1, description="steps without firing through a backbone after which a concept counts as dead there"
    )
    learning_rate: float = Field(1.7e-2, gt=0)
    final_learning_rate: float = Field(1e-5, ge=0)
    warm_up: float = Field(0.03, ge=0, le=1, description="share of the steps with a rising learning rate")
    betas: tuple[Beta, Beta] = Field(
        (0.8, 0.99), description="AdamW's decay rates of its means of the gradients and of their squares"
    )
    weight_decay: float = Field(0.1, ge=0)
    batch: int = Field(4096, ge=1, description="tokens per step, unless the fit says otherwise")
    max_grad_norm: float = Field(1.0, gt=0, description="largest gradient norm of an encoder-dictionary pair")

    @model_validator(mode="after")
    def _drawn_from_some(self) -> TrainingRecipe:
        if self.matryoshka == "drawn" and not self.matryoshka_fractions:
            raise UsageError("matryoshka is drawn, and there are no matryoshka_fractions; give some, such as 0.25")
        return self

    @property
    def title(self) -> str:
        """Its name, and the variants by which it differs from the recipe of that name: what a USAE keeps."""
        variants = (self.sparsity, self.dictionary, self.matryoshka)
        kinds = [str(variant["kind"]) if isinstance(variant, dict) else variant for variant in variants]
        words = self.name.split(", ")
        return ", ".join([*words, *(variant for variant in kinds if variant not in ("topk", "free", "fixed", *words))])


PUBLISHED = TrainingRecipe(
    name="published",
    standardization="scalar",
    batch_norm=True,
    offset=False,
    dictionary_init="random",
    tied=False,
    unit_norm=True,
    noise=0.0,
    renormalize=True,
    encoding="one",
    loss="absolute",
    matryoshka_fractions=(),
    auxiliary="left_out",
    auxiliary_weight=0.1,
    dead_after=200,
    learning_rate=3e-4,
    final_learning_rate=1e-6,
    warm_up=1 / 30,
    betas=(0.9, 0.999),
    weight_decay=1e-5,
    batch=6272,
)
DEFAULT = TrainingRecipe(name="default")
FROZEN = TrainingRecipe(name="frozen", frozen=True, dictionary_init="random")
SHUFFLED = TrainingRecipe(name="shuffled", shuffled=True)
RECIPES: dict[str, TrainingRecipe] = {recipe.name: recipe for recipe in (DEFAULT, PUBLISHED, FROZEN, SHUFFLED)}


RECIPE_FIELDS = ("sparsity", "dictionary", "matryoshka_fractions", "matryoshka")  # what a fit may set differently


class FitSettings(Settings):
    """Size and length of a fit, and what it sets differently from its recipe."""

    FORMER: ClassVar[Mapping[str, str]] = {"start_seed": "init_seed"}

    n_concepts: int = Field(6144, ge=1, le=MAX_COUNT, description="size of the concept space (the paper: 6144)")
    k: int = Field(
        32, ge=1, json_schema_extra={"short": "-k"}, description="concepts kept per token (the paper's code: 32)"
    )
    n_private: int = Field(
        0,
        ge=0,
        le=MAX_COUNT,
        description="how many of the concepts are private to each backbone: no other fires them, and they add nothing "
        "to what others decode. All share the rest",
    )
    k_private: int = Field(
        0,
        ge=0,
        le=MAX_COUNT,
        description="with n_private, how many of a token's k active concepts are private ones; 0: the k largest, "
        "private or not",
    )
    steps: int = Field(10_000, ge=1, le=MAX_COUNT, description="optimizer steps")
    batch: int = Field(
        DEFAULT.batch,
        ge=1,
        le=MAX_COUNT,
        description="tokens per step; the recipe's by default (4096, published 6272)",
    )
    seed: int = Field(0, ge=-(2**63), lt=2**64, description="decides every random draw except those of init_seed")
    init_seed: int = Field(
        0,
        ge=0,
        lt=2**64,
        description="decides which tokens dictionaries start at (recipes `default` and `shuffled`), and so which "
        "concepts are found: they stay nearly the same with another --seed, and change with another "
        "--init-seed",
    )
    dtype: BackbonesDtype = "auto"
    mask_outliers: bool = Field(
        False,
        description="leave patches out of training at which a backbone's token has more than sqrt(10) times the "
        "median norm",
    )
    sparsity: SparsityName | None = Field(
        None,
        description="which concepts of a token are active: `topk`, the k largest; `batchtopk`, k on average over a "
        "batch; `jumprelu`, what exceeds a threshold that is learned, about k. The recipe's by default (`topk`)",
    )
    dictionary: DictionaryName | None = Field(
        None,
        description="what dictionary rows may be: `free`; `archetypal`, mixtures of tokens plus a bounded rest. The "
        "recipe's by default (`free`)",
    )
    matryoshka_fractions: Fractions | None = Field(
        None,
        description="comma-separated, rising shares of the concepts that must also explain the tokens alone, or "
        "`none`. The recipe's by default (0.25; published none; a consensus has none)",
    )
    matryoshka: Matryoshka | None = Field(
        None,
        description="`fixed`: those shares at every step; `drawn`: others at each. The recipe's by default (`fixed`)",
    )
    recipe: TrainingRecipe = Field(
        DEFAULT,
        description="`default`; `published`: as the authors' code does it; `frozen`, `shuffled`: controls, to "
        "read figures against chance (random dictionaries; tokens of different pictures paired)",
    )
    max_broken: MaxBroken = Field(MAX_BROKEN, exclude=True)  # no part of the result: a resume may allow more

    @model_validator(mode="before")
    @classmethod
    def _into_the_recipe(cls, values: Any) -> Any:
        """Settings of a recipe that are given beside it are moved into it."""
        if not isinstance(values, Mapping):
            return values
        beside = {name: values[name] for name in RECIPE_FIELDS if values.get(name) is not None}
        recipe = values.get("recipe", DEFAULT)
        if not beside or not isinstance(recipe, TrainingRecipe | Mapping):
            return values
        return {**values, **dict.fromkeys(beside), "recipe": {**dict(recipe), **beside}}

    @model_validator(mode="after")
    def _of_the_concepts_that_there_are(self) -> FitSettings:
        """k is at most n_concepts, and Matryoshka fractions are of distinct numbers of concepts."""
        if self.k > self.n_concepts:
            raise UsageError(f"k is {self.k} and n_concepts {self.n_concepts}; expected k <= n_concepts")
        self.check_parts(self.n_concepts)
        return self

    @model_validator(mode="after")
    def _slots_of_two_kinds(self) -> FitSettings:
        """k_private needs n_private, and sparsity `topk`."""
        if not self.k_private:
            return self
        if not self.n_private:
            raise UsageError(f"k_private is {self.k_private}, and no concepts are private; give n_private as well")
        if self.recipe.sparsity != DEFAULT.sparsity:
            raise UsageError(
                f"k_private is for sparsity 'topk', and this one is {self.recipe.sparsity!r}; leave it out"
            )
        if self.k_private >= self.k or self.k_private > self.n_private:
            raise UsageError(
                f"k_private is {self.k_private}; expected less than k = {self.k}, and at most n_private = "
                f"{self.n_private}"
            )
        return self

    def check_parts(self, n_shared: int) -> None:
        """Refuse Matryoshka fractions that come to none of the shared concepts, to all, or to the same number twice.

        The default recipe's are for spaces of any size, and drawn ones are not known beforehand.

        Raises:
            UsageError: for such fractions; says how many concepts they come to.
        """
        fractions = self.recipe.matryoshka_fractions
        if self.recipe.matryoshka == "drawn" or fractions == DEFAULT.matryoshka_fractions:
            return
        sizes = [0, *(round(fraction * n_shared) for fraction in fractions), n_shared]
        if any(later == before for before, later in pairwise(sizes)):
            raise UsageError(
                f"matryoshka_fractions {', '.join(f'{fraction:g}' for fraction in fractions)} of {n_shared} concepts "
                f"are parts of {', '.join(map(str, sizes[1:-1]))}; expected numbers that rise, from 1 to less than all"
            )


class FitOptions(TypedDict, total=False):
    """The fields of `FitSettings` but the recipe, for editors and type checkers; a test keeps the two in step."""

    n_concepts: int
    k: int
    n_private: int
    k_private: int
    steps: int
    batch: int | None
    seed: int
    init_seed: int
    dtype: ComputeDtype
    mask_outliers: bool
    sparsity: str | Mapping[str, Any] | None
    dictionary: str | Mapping[str, Any] | None
    matryoshka_fractions: tuple[float, ...] | None
    matryoshka: Matryoshka | None
    max_broken: float


class ExecutionSettings(Settings):
    """How a training is carried out: on how many images, in how much memory, and what is kept and logged on the way."""

    FORMER: ClassVar[Mapping[str, str]] = {"every": "checkpoint_minutes", "keep": "keep_checkpoints"}

    limit: Limit = None
    memory: float | None = Field(
        None,
        description="GB of memory that tokens may take at a time, a third of the machine's by default; what does not "
        "fit is read or streamed in random windows",
    )
    readers: Readers = 0
    checkpoint_minutes: float = Field(10.0, ge=0, description="minutes between two states that can be resumed from")
    keep_checkpoints: int = Field(2, ge=1, description="how many training states are kept; older ones are removed")
    log_every: int | None = Field(
        None,
        ge=1,
        description="steps between two lines of metrics.jsonl; a hundredth of the training by default",
    )


def check_for_pictures(
    why: str, settings: FitSettings, limit: int | None, backbones: object = None, readers: int = 0
) -> None:
    """Refuse options that have no effect on tokens that exist already.

    Args:
        why: the reason, for the message.
        settings: whose dtype and max_broken are for reading pictures.
        limit: largest number of pictures.
        backbones: that see pictures.
        readers: processes that read them.

    Raises:
        UsageError: for the first of them.
    """
    requested = {"backbones are": backbones is not None, "limit is": limit is not None, "readers are": readers != 0}
    for name in ("dtype", "max_broken"):
        requested[f"{name} is"] = getattr(settings, name) != FitSettings.model_fields[name].default
    for are, is_given in requested.items():
        if is_given:
            raise UsageError(f"{are} for pictures; {why}")
