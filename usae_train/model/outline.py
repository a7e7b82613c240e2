"""Names and numbers from a USAE's config.json, to check what was typed before torch is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from usae_train.backbones.names import check_backbone_name
from usae_train.backbones.spec import BackboneSpec
from usae_train.files.json_files import read_object, validate
from usae_train.model.places import LABELS, config_file, folder_here
from usae_train.runtime.errors import UsageError


class UsaeDescription(Protocol):
    """The interface that a USAE and its outline share."""

    @property
    def n_concepts(self) -> int: ...

    @property
    def names(self) -> list[str]: ...

    @property
    def factors(self) -> Sequence[str]: ...

    @property
    def specs(self) -> Mapping[str, BackboneSpec]: ...

    @property
    def labels_file(self) -> Path | None: ...

    @property
    def sha256(self) -> str | None: ...

    def check_backbone(self, name: str) -> str:
        """The name itself, of a backbone.

        Raises:
            ValueError: when no backbone has that name.
        """
        ...


@dataclass(frozen=True)
class UsaeOutline:
    """A USAE without its tensors."""

    n_concepts: int
    names: list[str]  # of its backbones
    factors: Sequence[str]
    specs: Mapping[str, BackboneSpec]
    labels_file: Path | None
    sha256: None = None  # of its weights, which are not read

    def check_backbone(self, name: str) -> str:
        """As `USAE.check_backbone`."""
        return check_backbone_name(self.names, name)


def check_concept(usae: UsaeDescription, concept: int) -> int:
    """The concept itself.

    Raises:
        ValueError: when the USAE has no such concept; says how many there are.
    """
    if not 0 <= concept < usae.n_concepts:
        raise UsageError(f"no concept {concept}; this USAE has {usae.n_concepts}, numbered 0 to {usae.n_concepts - 1}")
    return concept


class _Words(BaseModel):
    """The part of config.json that an outline has; all of it is checked when the USAE is loaded."""

    model_config = ConfigDict(extra="ignore")

    n_concepts: int = Field(ge=1)
    widths: dict[str, int] = Field(min_length=1)
    factors: list[str]
    backbones: dict[str, BackboneSpec]


def outline_of(folder: Path) -> UsaeOutline:
    """The outline of a USAE folder.

    Raises:
        ValueError: for a config.json that lacks any of it.
    """
    words = validate(_Words.model_validate, read_object(config_file(folder)))
    specs = {name: spec.relative_to(folder) for name, spec in words.backbones.items()}
    labels = folder / LABELS
    return UsaeOutline(words.n_concepts, list(words.widths), words.factors, specs, labels if labels.is_file() else None)


def outline_here(usae: str) -> UsaeOutline | None:
    """The outline of a USAE on this machine; None for one on the hub or a broken folder, which loading tells apart.

    Raises:
        ValueError: for what names no USAE, with the nearest names, and for another folder.
    """
    folder = folder_here(usae)
    if folder is None:
        return None
    config_file(folder)
    try:
        return outline_of(folder)
    except UsageError:
        return None
