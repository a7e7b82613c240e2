"""SAELens 6: a folder with cfg.json and sae_weights.safetensors (github.com/decoderesearch/SAELens)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from usae_train.files.json_files import read_named_object
from usae_train.files.tensor_files import save_tensors
from usae_train.model.sparsity.batchtopk import BatchTopK
from usae_train.model.sparsity.jumprelu import JumpReLU
from usae_train.model.sparsity.relu import ReLU
from usae_train.model.sparsity.topk import TopK
from usae_train.runtime.errors import UsageError
from usae_train.runtime.json_text import json_text
from usae_train.sae_formats.format import GATED, Format, UserAnswers
from usae_train.sae_formats.sae import SparseAutoencoder
from usae_train.sae_formats.weights import check_count, config_word, read_tensors

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
VERSION = "6.54.12"  # the version that this was compared with, and whose form is written
COMMON = {
    "architecture",
    "d_in",
    "d_sae",
    "dtype",
    "device",
    "apply_b_dec_to_input",
    "normalize_activations",
    "reshape_activations",
    "metadata",
}
EXPECTED_KEYS = {"standard": set[str](), "jumprelu": set[str](), "topk": {"k", "rescale_acts_by_decoder_norm"}}
REFUSED_ARCHITECTURES = {
    "gated": GATED,
    "abstopk": "its codes are negative as well as positive, and a concept would mean two things",
    "batchtopk": "this is the form of training, whose codes depend on the batch; save it with save_inference_model",
    "matryoshka_batchtopk": "this is the form of training, whose codes depend on the batch; save it with "
    "save_inference_model",
    "matching_pursuit": "its codes are found one after another, by no one affine map",
    "temporal": "it mixes the tokens of a sequence",
    "transcoder": "it decodes to another layer than it encodes",
    "skip_transcoder": "it decodes to another layer",
    "jumprelu_transcoder": "it decodes to another layer",
    "jumprelu_skip_transcoder": "it decodes to another layer",
}
NORMALIZATIONS = {
    "expected_average_only_in": "the scale that it was trained with is not in the folder (SAELens itself loads it "
    "unscaled); fold it first, with fold_activation_norm_scaling_factor",
    "layer_norm": "decoding needs the mean and spread of the very token, which codes do not carry",
    "constant_norm_rescale": "decoding needs the norm of the very token, which codes do not carry",
    "covariance_whitening": "its matrix is not in the folder; fold it first, with fold_activation_whitening",
}
DESCRIBED_BY = {"model_name": "model", "hook_name": "place", "dataset_path": "data"}


class SAELens(Format):
    """Standard, TopK and JumpReLU; BatchTopK and Matryoshka are saved as JumpReLU for inference."""

    name = "saelens"

    def recognizes(self, place: Path) -> bool:
        """By the names of its two files."""
        return (place / WEIGHTS).is_file()

    def read(self, place: Path, answers: UserAnswers) -> SparseAutoencoder:
        """See `Format`."""
        file = place / CONFIG
        config = _read_cfg(file)
        architecture = config["architecture"]
        weights = read_tensors(place / WEIGHTS)
        encoder = weights.take("W_enc", None, None)
        width, n_concepts = encoder.shape
        for key, size in (("d_in", width), ("d_sae", n_concepts)):
            if config.get(key) != size:
                raise UsageError(f"{file}: {key} is {config.get(key)!r}, and W_enc in {WEIGHTS} has {size}")
        bias, decoder = weights.take("b_enc", n_concepts), weights.take("W_dec", n_concepts, width)
        added = weights.take("b_dec", width)
        threshold = weights.take("threshold", n_concepts) if architecture == "jumprelu" else None
        notes = (*_describe(config["metadata"]), *weights.done(f"SAELens' {architecture}"))
        encoder = encoder.T
        if config.get("rescale_acts_by_decoder_norm"):
            norms = _norms(decoder, place / WEIGHTS)
            encoder, bias, decoder = encoder * norms[:, None], bias * norms, decoder / norms[:, None]
        subtracted = added if config.get("apply_b_dec_to_input", True) else torch.zeros_like(added)
        return SparseAutoencoder(
            self.name,
            config_word(config["metadata"].get("training_architecture", architecture)),
            encoder,
            bias,
            decoder,
            subtracted,
            added,
            **_sparsity(config, threshold, file, n_concepts),
            notes=notes,
        )

    def write(self, sae: SparseAutoencoder, folder: Path) -> None:
        """See `Format`."""
        config, threshold = _config_of(sae)
        weights = {"W_enc": sae.encoder.T, "b_enc": sae.bias, "W_dec": sae.decoder, "b_dec": sae.added}
        if bool(sae.subtracted.any()):
            config["apply_b_dec_to_input"] = True
            if not torch.equal(sae.subtracted, sae.added):
                raise UsageError("SAELens subtracts what it adds, or nothing; this one subtracts other numbers")
        if threshold is not None:
            weights["threshold"] = threshold.expand(sae.n_concepts)
        (folder / CONFIG).write_text(json_text(config, indent=1) + "\n")
        save_tensors(weights, folder / WEIGHTS)


def _read_cfg(file: Path) -> dict[str, Any]:
    """Read a cfg.json of an autoencoder that can be reproduced exactly.

    Raises:
        ValueError: for any other; says what cannot be.
    """
    config = read_named_object(file)
    metadata, architecture = config.get("metadata"), config_word(config.get("architecture"))
    if not isinstance(metadata, Mapping) or not str(metadata.get("sae_lens_version", "")).startswith("6."):
        raise UsageError(f"{file} is not SAELens 6's; load it there (SAE.load_from_disk) and save it (save_model)")
    if architecture not in EXPECTED_KEYS:
        why = REFUSED_ARCHITECTURES.get(architecture, f"expected {', '.join(EXPECTED_KEYS)}")
        raise UsageError(f"{file}: architecture {architecture!r} is not read: {why}")
    if odd := sorted(config.keys() - COMMON - EXPECTED_KEYS[architecture]):
        raise UsageError(
            f"{file}: {odd[0]} is not a key of SAELens' {architecture} for inference; save it with save_inference_model"
        )
    for key, reasons in (("normalize_activations", NORMALIZATIONS), ("reshape_activations", {})):
        value = config.get(key, "none")
        if value != "none":
            why = reasons.get(str(value), "only `none` is")
            raise UsageError(f"{file}: {key} {value!r} is not read: {why}")
    return config


def _sparsity(config: Mapping[str, Any], threshold: Tensor | None, file: Path, n_concepts: int) -> dict[str, Any]:
    """The fields of `SparseAutoencoder` that say which concepts are active."""
    if config["architecture"] == "topk":
        return {"sparsity": TopK(), "k": check_count(config.get("k"), "k", file, n_concepts)}
    if threshold is None:
        return {"sparsity": ReLU()}
    details = config["metadata"].get("training_architecture_details")
    k = details.get("k") if isinstance(details, Mapping) else None
    if isinstance(k, int | float) and 1 <= k <= n_concepts and bool((threshold == threshold[0]).all()):
        return {"sparsity": BatchTopK(), "k": round(k), "threshold": threshold[0]}
    return {"sparsity": JumpReLU(), "threshold": threshold}


def _config_of(sae: SparseAutoencoder) -> tuple[dict[str, Any], Tensor | None]:
    """The cfg.json that computes the same, and the thresholds that go with it."""
    version: dict[str, Any] = {"sae_lens_version": VERSION, "sae_lens_training_version": None}
    config: dict[str, Any] = {
        "d_in": sae.width,
        "d_sae": sae.n_concepts,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": version,
    }
    kind = sae.sparsity
    if isinstance(kind, TopK) and not kind.signed:
        return {**config, "architecture": "topk", "k": sae.k, "rescale_acts_by_decoder_norm": False}, None
    if isinstance(kind, ReLU):
        return {**config, "architecture": "standard"}, None
    if isinstance(kind, JumpReLU | BatchTopK):
        if isinstance(kind, BatchTopK):
            version |= {"training_architecture": "batchtopk", "training_architecture_details": {"k": sae.k}}
        return {**config, "architecture": "jumprelu"}, sae.threshold
    raise UsageError(f"SAELens has no sparsity such as {kind!r}; it has topk after a ReLU, batchtopk, jumprelu, relu")


def _describe(metadata: Mapping[str, Any]) -> list[str]:
    """What the folder states about its training."""
    described = [f"{word} {metadata[key]!r}" for key, word in DESCRIBED_BY.items() if metadata.get(key)]
    return [f"the folder says that it was trained on {', '.join(described)}"] if described else []


def _norms(decoder: Tensor, file: Path) -> Tensor:
    norms: Tensor = decoder.norm(dim=1)
    if bool((norms == 0).any()):
        raise UsageError(f"{file}: W_dec has a row of zeros, by whose norm SAELens divides; the autoencoder is broken")
    return norms
