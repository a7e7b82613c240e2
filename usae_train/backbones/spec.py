"""What is particular to one backbone: which network, which weights, and where it is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from usae_train.backbones.options import check_values
from usae_train.files.homes import expand_home
from usae_train.files.validation import OneLineErrorModel
from usae_train.runtime.errors import UsageError

PRETRAINED = "pretrained"
RANDOM = "random"
PACKAGE_PREFIX = "package:"
LOCAL = "local-dir:"  # timm's word for a folder with config.json and weights
MODULE = "module:"  # and a class and a layer: what was given from Python, and no spec can build (module_backbone.py)
SiteName = Literal["block", "attention", "mlp", "prefix"]
Level = Annotated[float, Field(allow_inf_nan=False)]
Side = Annotated[int, Field(ge=1, le=4096)]  # tokens of a grid: a picture of 16,384 px in patches of 4
PositiveStd = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class BackboneSpec(OneLineErrorModel):
    """Everything that is particular to one backbone. Nothing elsewhere asks for a model's name."""

    model: str = Field(
        min_length=1,
        description="timm id, `hf-hub:` and a repository, or `local-dir:` and a folder in timm's form",
    )
    weights: str = Field(
        PRETRAINED,
        description="`pretrained`, `random`, a .safetensors/.pth file in timm's form, or one inside an installed "
        "package: `package:NAME==VERSION/FILE`",
    )
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="of the weight file: any other is refused; not checked by default"
    )
    tensors: Literal["named", "ordered"] = Field(
        "named",
        description="which of the file's tensors is which: by timm's names, or (.pth) one to one in their order",
    )
    layer: int = Field(-1, description="block or stage to read; negative counts from the end")
    site: SiteName = Field(
        "block",
        description="what is read of the layer: `block`, what it gives; in transformers also what its `attention` or "
        "its `mlp` gives, or `prefix`, its class and register tokens, side by side as one token per picture",
    )
    norm: bool = Field(
        True, description="apply the model's final norm to `block` or `prefix`; a warning says where timm cannot"
    )
    input_size: int | None = Field(None, ge=1, description="pixels per side; timm's own by default")
    mean: tuple[Level, Level, Level] | None = Field(None, description="normalization; timm's own by default")
    std: tuple[PositiveStd, PositiveStd, PositiveStd] | None = Field(
        None, description="normalization; timm's own by default"
    )
    classes: int = Field(0, ge=0, description="size of the classifier to keep, for class logits; 0 leaves it out")
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="what shapes the network, such as `depth: 6`: names that the architecture's classes take in timm",
    )
    seed: int = Field(0, ge=-(2**63), lt=2**64, description="seed of the weights when they are `random`")

    @field_validator("options")
    @classmethod
    def _of_a_network(cls, options: dict[str, Any]) -> dict[str, Any]:
        check_values(options)
        return options

    @field_validator("weights", "model")
    @classmethod
    def _from_home(cls, text: str) -> str:
        if text.startswith("~"):
            return str(expand_home(text))
        return LOCAL + str(expand_home(text.removeprefix(LOCAL))) if text.startswith(LOCAL + "~") else text

    @model_validator(mode="after")
    def _needs_a_file(self) -> BackboneSpec:
        if not (self.is_packaged or self.has_own_file) and (self.sha256 is not None or self.tensors == "ordered"):
            raise UsageError(f"sha256 and tensors describe a weight file, but weights is {self.weights!r}")
        if self.tensors == "ordered" and self.weights.endswith(".safetensors"):
            raise UsageError("tensors cannot be `ordered`: a .safetensors file keeps no order")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A site that all older specs had is left out: what is written of them stays as it was."""
        fields: dict[str, Any] = dump(self)
        if self.site == "block":
            fields.pop("site", None)
        return fields

    @property
    def network(self) -> str:
        """What specs have alike that read one network, and can do so in one pass: all but the layer and the site."""
        return f"{self.layer < 0} {self.model_dump_json(exclude={'layer', 'site'})}"

    @property
    def place(self) -> str:
        """Which layer is read, in words: `layer 5`, `layer 5's attention`."""
        return f"layer {self.layer}" if self.site == "block" else f"layer {self.layer}'s {self.site}"

    @property
    def is_packaged(self) -> bool:
        """Whether its weights lie inside an installed package."""
        return self.weights.startswith(PACKAGE_PREFIX)

    @property
    def has_own_file(self) -> bool:
        """Whether its weights are a local file, of which a USAE folder takes a copy."""
        return self.weights not in (PRETRAINED, RANDOM) and not self.is_packaged

    @property
    def local_folder(self) -> Path | None:
        """The local folder that says what the model is, of which a USAE folder takes a copy too."""
        return Path(self.model.removeprefix(LOCAL)) if self.model.startswith(LOCAL) else None

    @property
    def short_name(self) -> str:
        """A name that can be a file's: the id without a hub prefix or the tag of the weights."""
        return self.model.rstrip("/").rpartition("/")[2].removeprefix(LOCAL).partition(".")[0]

    def remedy(self) -> str:
        """What to do when the weights that this gives are not those that were expected."""
        if self.model.startswith(MODULE):
            module = self.model.removeprefix(MODULE)
            return (
                f"give {module}, a module that no folder holds, as you gave it for training: load(..., "
                f"modules={{...}}); no command takes one, so use Python"
            )
        if self.weights == RANDOM:
            import torch

            return f"random weights depend on torch's version (here {torch.__version__}); use the one of the training"
        if self.weights == PRETRAINED:
            return f"give the weights of the training as a file in `weights` of its spec; {self.model!r} has others now"
        if self.is_packaged:
            return f"reinstall the package that the training used; its spec says {self.weights}"
        return f"put the weight file of the training at {self.weights}"

    def relative_to(self, folder: Path) -> BackboneSpec:
        """The same spec, with a relative weight file, and a relative `local-dir:`, taken to lie in `folder`."""
        moved = {}
        if self.has_own_file and not Path(self.weights).is_absolute():
            moved["weights"] = str(folder / self.weights)
        if self.local_folder is not None and not self.local_folder.is_absolute():
            moved["model"] = f"{LOCAL}{folder / self.local_folder}"
        return self.model_copy(update=moved) if moved else self


# The paper's three (Thasarathan et al. 2025, section 4), by timm id; DINOv2 is read at 224 px, 16x16 patches.
PAPER: Mapping[str, BackboneSpec] = {
    "siglip": BackboneSpec(model="vit_base_patch16_siglip_224.webli"),
    "dino": BackboneSpec(model="vit_small_patch14_dinov2.lvd142m", input_size=224),
    "vit": BackboneSpec(model="vit_base_patch16_224.augreg2_in21k_ft_in1k"),
}


def without_classifier(name: str) -> str:
    """What to say of a backbone whose spec keeps no classifier, where one is needed."""
    return f"{name} has no classifier; set `classes` in its spec"
