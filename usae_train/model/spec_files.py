"""What `--backbones` takes: the presets, ids of timm, or a YAML of specs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml.comments import CommentedMap

from usae_train.backbones.spec import PAPER, BackboneSpec
from usae_train.files.wording import expectation
from usae_train.files.yaml_config import check_mapping, key_line, read_mapping
from usae_train.model.outline import outline_of
from usae_train.model.places import EMBEDDED
from usae_train.runtime.errors import UsageError

BACKBONE_PRESETS = ("paper", *EMBEDDED)


class _WrittenSpec(BackboneSpec):
    """A spec as written in a file: `layers` stands for one per layer."""

    layers: Annotated[list[int], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _different(self) -> _WrittenSpec:
        if self.layers is not None and "layer" in self.model_fields_set:
            raise UsageError("both `layer` and `layers` are given; expected one of them")
        if self.layers is not None and len(set(self.layers)) < len(self.layers):
            raise UsageError(f"layers are {self.layers}, one of them twice; expected each once")
        return self

    def by_name(self, name: str) -> dict[str, BackboneSpec]:
        """The specs that it stands for, by their backbones' names."""
        fields = {key: getattr(self, key) for key in self.model_fields_set if key != "layers"}
        if self.layers is None:
            return {name: BackboneSpec(**fields)}
        return {f"{name}@{layer}": BackboneSpec(**fields, layer=layer) for layer in self.layers}


def read_specs(text: str) -> dict[str, BackboneSpec]:
    """The specs that `--backbones` names: `paper`, `demo`, `photos`, a YAML file, or comma-separated timm ids.

    The YAML maps names that you choose to specs. Weight files and `local-dir:` are taken relative to the YAML's folder.
    With `layers: [5, 8]` instead of `layer` it stands for one backbone per layer, `NAME@5` and `NAME@8`, of one network
    that sees a picture once.

    Raises:
        ValueError: for anything else.
    """
    if text == "paper":
        return dict(PAPER)
    if text in EMBEDDED:
        return dict(outline_of(EMBEDDED[text]).specs)
    if text.endswith((".yaml", ".yml")):
        content = read_mapping(text)
        specs: dict[str, BackboneSpec] = {}
        folder = Path(text).parent.absolute()  # absolute: a store or a training may be resumed from another folder
        for name, entry in content.items():
            if not isinstance(entry, CommentedMap):
                line = key_line(content, name)
                raise UsageError(f"{text}:{line}: {name}: expected a mapping such as `model: vit_base_patch16_224`")
            written = check_mapping(_WrittenSpec, entry, text, [str(name)]).by_name(str(name))
            if twice := specs.keys() & written.keys():
                line = key_line(content, name)
                raise UsageError(f"{text}:{line}: {name}: there is a backbone {min(twice)} already; rename one of them")
            specs |= {key: spec.relative_to(folder) for key, spec in written.items()}
        if not specs:
            raise UsageError(f"{text}: no backbones in it")
        return specs
    models = [part.strip() for part in text.split(",") if part.strip()]
    if not models:
        raise UsageError("no backbones; expected `paper`, `demo`, `photos`, a YAML file, or timm ids (a,b,...)")
    specs = {spec.short_name: spec for spec in map(_spec_of_id, models)}
    if len(specs) < len(models):
        raise UsageError(f"{text!r} names a backbone twice; give them names of their own in a YAML file")
    return specs


def _spec_of_id(model: str) -> BackboneSpec:
    try:
        return BackboneSpec.model_validate({"model": model}).relative_to(Path.cwd())
    except ValidationError as error:
        raise UsageError(f"{model}: {expectation(error.errors()[0])}") from None
