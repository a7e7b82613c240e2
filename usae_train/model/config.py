"""Schemas of a USAE folder's files besides tensors: config.json, and the metadata of statistics.safetensors."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator, model_validator

from usae_train.backbones.identity import WeightsRecord
from usae_train.backbones.names import check_name
from usae_train.backbones.spec import BackboneSpec, Side
from usae_train.files.validation import FrozenModel
from usae_train.images.source_record import SourceRecord
from usae_train.model.private import PrivateConcepts
from usae_train.model.sparsity.topk import TopK
from usae_train.model.sparsity.variant import Sparsity
from usae_train.model.sparsity.variants import read_sparsity
from usae_train.runtime.errors import UsageError
from usae_train.tokens.standardization import Outliers

CONFIG_SCHEMA = 1


class UsaeConfig(FrozenModel):
    """What config.json holds."""

    model_config = ConfigDict(protected_namespaces=())

    schema_: int = Field(CONFIG_SCHEMA, alias="schema")
    widths: dict[str, Annotated[int, Field(ge=1, lt=2**24)]] = Field(min_length=1)
    n_concepts: int = Field(ge=1)
    k: int = Field(ge=1)
    batch_norm: bool
    sparsity: SerializeAsAny[Sparsity] = Field(default_factory=TopK)  # older folders have none
    unit_norm: bool = True  # nor this
    private: dict[str, tuple[int, int]] = Field(default_factory=dict)  # nor this; (first, one past the last) concept
    recipe: str
    grid: tuple[Side, Side] | None
    backbones: dict[str, BackboneSpec]
    images: str | None
    n_images: int | None = None
    fingerprint: str | None
    factors: list[str]
    outliers: dict[str, Outliers] = Field(default_factory=dict)  # older folders have none
    weights: dict[str, WeightsRecord] = Field(default_factory=dict)  # nor this
    versions: dict[str, str]
    commit: str | None = None

    @property
    def measured_on(self) -> SourceRecord:
        """The images of its statistics."""
        return SourceRecord(self.images, self.n_images, self.fingerprint)

    @property
    def private_ranges(self) -> dict[str, range]:
        """{backbone: its private concepts}."""
        return {name: range(*ends) for name, ends in self.private.items()}

    @field_validator("sparsity", mode="before")
    @classmethod
    def _of_a_variant(cls, settings: Any) -> Sparsity:
        return settings if isinstance(settings, Sparsity) else read_sparsity(settings)

    def as_json(self) -> str:
        """The file's text. Defaults of older folders are left out, so that these are saved again unchanged."""
        usual = {"sparsity": TopK(), "unit_norm": True, "private": {}}
        at_default = {key for key, value in usual.items() if getattr(self, key) == value}
        return self.model_dump_json(indent=2, by_alias=True, exclude=at_default) + "\n"

    @model_validator(mode="after")
    def _of_its_backbones(self) -> UsaeConfig:
        if self.k > self.n_concepts:
            raise UsageError(f"k is {self.k}; expected 1 <= k <= n_concepts = {self.n_concepts}")
        self.sparsity.check_sizes(self.k, PrivateConcepts(list(self.widths), self.n_concepts, self.private_ranges))
        for name in self.widths:
            check_name(name)
        if self.backbones and self.backbones.keys() != self.widths.keys():
            raise UsageError(f"backbones {', '.join(self.backbones)}; expected those of widths, or none")
        return self


class Origin(BaseModel):
    """What statistics.safetensors says about the pictures that it was measured on."""

    model_config = ConfigDict(extra="ignore")

    images: str | None
    n_images: int | None = Field(ge=1)
    fingerprint: str | None
    factors: list[str]

    @property
    def measured_on(self) -> SourceRecord:
        """These pictures."""
        return SourceRecord(self.images, self.n_images, self.fingerprint)
