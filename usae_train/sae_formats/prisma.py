"""ViT-Prisma: weights.pt, a pickled config inside or config.json beside it (Prisma-Multimodal/ViT-Prisma).

The config is an object of Prisma's. Only its attributes are read: the object's class is never imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from usae_train.files.json_files import read_named_object
from usae_train.model.sparsity.relu import ReLU
from usae_train.model.sparsity.topk import TopK
from usae_train.runtime.errors import UsageError
from usae_train.sae_formats.format import Format, UserAnswers
from usae_train.sae_formats.sae import SparseAutoencoder
from usae_train.sae_formats.saelens import NORMALIZATIONS, REFUSED_ARCHITECTURES
from usae_train.sae_formats.torch_files import TORCH_SUFFIXES, InertObject, load_tensors
from usae_train.sae_formats.weights import Weights, check_config_sizes, check_count

CONFIG = "config.json"
OBJECTS = (
    "vit_prisma.sae.config.VisionModelSAERunnerConfig",
    "vit_prisma.configs.HookedViTConfig.HookedViTConfig",
)
REQUIRED_KEYS = ("architecture", "activation_fn_str", "normalize_activations", "d_in")
DESCRIBED_BY = {"model_name": "model", "layer_subtype": "place", "hook_point_layer": "layer"}


class Prisma(Format):
    """Standard autoencoders with ReLU or TopK; gated ones and transcoders are refused."""

    name = "prisma"

    def recognizes(self, place: Path) -> bool:
        """By what is in the file: a config of Prisma's, or its keys in the config.json beside it."""
        try:
            return _read_place(place) is not None
        except UsageError:
            return False

    def read(self, place: Path, answers: UserAnswers) -> SparseAutoencoder:
        """See `Format`."""
        if (parts := _read_place(place)) is None:
            raise UsageError(f"{place} is not Prisma's: there is no config in the file, and no {CONFIG} beside it")
        file, config, tensors = parts
        _check(config, file)
        weights = Weights(tensors, file)
        encoder = weights.take("W_enc", None, None).T
        n_concepts, width = encoder.shape
        check_config_sizes(config, {"d_in": width, "d_sae": n_concepts}, file)
        bias, decoder = weights.take("b_enc", n_concepts), weights.take("W_dec", n_concepts, width)
        b_dec = weights.take("b_dec", width)
        sparsity: dict[str, Any] = {"sparsity": ReLU()}
        if config["activation_fn_str"] == "topk":
            activation_settings = config.get("activation_fn_kwargs")
            count = activation_settings.get("k") if isinstance(activation_settings, Mapping) else None
            sparsity = {"sparsity": TopK(), "k": check_count(count, "activation_fn_kwargs.k", file, n_concepts)}
        described = ", ".join(
            f"{word} {config[key]!r}" for key, word in DESCRIBED_BY.items() if config.get(key) is not None
        )
        notes = ((f"the file says that it was trained on {described}",) if described else ()) + weights.done(
            "Prisma's standard"
        )
        return SparseAutoencoder(self.name, "standard", encoder, bias, decoder, b_dec, b_dec, **sparsity, notes=notes)


def _read_place(place: Path) -> tuple[Path, Mapping[str, Any], Any] | None:
    """The file, its config and its tensors; None without a config of Prisma's."""
    files = sorted(path for path in place.iterdir() if path.suffix in TORCH_SUFFIXES) if place.is_dir() else [place]
    if len(files) != 1 or files[0].suffix not in TORCH_SUFFIXES:
        return None
    (file,) = files
    content = load_tensors(file, file, OBJECTS)
    inside = content.get("cfg") if isinstance(content, Mapping) else None
    tensors = content["state_dict"] if isinstance(content, Mapping) and "state_dict" in content else content
    if isinstance(inside, InertObject):
        return file, vars(inside), tensors
    beside = file.parent / CONFIG
    config = read_named_object(beside) if beside.is_file() else {}
    return (file, config, tensors) if "activation_fn_str" in config and "normalize_activations" in config else None


def _check(config: Mapping[str, Any], file: Path) -> None:
    """Refuse what cannot be reproduced."""
    if missing := [key for key in REQUIRED_KEYS if key not in config and key != "architecture"]:
        raise UsageError(f"{file}: its config has no {missing[0]}; expected one of Prisma's autoencoders")
    architecture = config.get("architecture", "standard")
    if architecture != "standard":
        why = REFUSED_ARCHITECTURES.get(str(architecture), "only `standard` is")
        raise UsageError(f"{file}: architecture {architecture!r} is not read: {why}")
    if config.get("is_transcoder"):
        raise UsageError(f"{file}: is_transcoder is not read: it decodes to another layer than it encodes")
    if (setting := config["activation_fn_str"]) not in ("relu", "topk"):
        raise UsageError(f"{file}: activation_fn_str {setting!r} is not read; expected relu or topk")
    if (setting := config["normalize_activations"]) not in ("none", None):
        raise UsageError(
            f"{file}: normalize_activations {setting!r} is not read: {NORMALIZATIONS.get(str(setting), '')}"
        )
