"""dictionary_learning 0.1: ae.pt, a state dict, beside config.json (github.com/saprmarks/dictionary_learning)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from usae_train.files.json_files import read_named_object
from usae_train.model.sparsity.batchtopk import BatchTopK
from usae_train.model.sparsity.jumprelu import JumpReLU
from usae_train.model.sparsity.relu import ReLU
from usae_train.model.sparsity.topk import TopK
from usae_train.runtime.errors import UsageError
from usae_train.sae_formats.format import GATED, Format, UserAnswers
from usae_train.sae_formats.sae import SparseAutoencoder
from usae_train.sae_formats.torch_files import load_tensors
from usae_train.sae_formats.weights import Weights, check_config_sizes, config_word

WEIGHTS, CONFIG = "ae.pt", "config.json"
AMBIGUOUS = (
    "TopK and BatchTopK have the same tensors, and only config.json beside it says which (trainer.dict_class); put it "
    "there"
)
NOT_SET = (
    "its threshold was never set (training sets it after its first 1000 steps): every positive pre-code is a code, as "
    "the library itself has it"
)


class DictionaryLearning(Format):
    """AutoEncoder, AutoEncoderNew, TopK, BatchTopK, Matryoshka BatchTopK, JumpReLU."""

    name = "dictionary_learning"

    def recognizes(self, place: Path) -> bool:
        """By the name of its file."""
        return (place / WEIGHTS).is_file() or (place.name == WEIGHTS and place.is_file())

    def read(self, place: Path, answers: UserAnswers) -> SparseAutoencoder:
        """See `Format`."""
        file = place / WEIGHTS if place.is_dir() else place
        weights = Weights(load_tensors(file, file), file)
        trainer = _trainer_of(file.parent / CONFIG)
        kind = _class_by_tensors(weights, _class_of(trainer, file.parent / CONFIG), file)
        sae = READERS[kind](weights)
        n_concepts, width = sae["encoder"].shape
        check_config_sizes(trainer, {"activation_dim": width, "dict_size": n_concepts}, file)
        notes = weights.done(f"dictionary_learning's {kind}")
        if sae["sparsity"] == BatchTopK() and float(sae["threshold"]) < 0:
            notes += (NOT_SET,)
        return SparseAutoencoder(self.name, kind, **sae, notes=notes)


def _trainer_of(config: Path) -> Mapping[str, Any]:
    """What config.json says of its trainer; nothing where there is no such file."""
    trainer = read_named_object(config).get("trainer") if config.is_file() else None
    return trainer if isinstance(trainer, Mapping) else {}


def _class_of(trainer: Mapping[str, Any], config: Path) -> str | None:
    """The class that config.json names; None where it names none."""
    if "dict_class" not in trainer:
        return None
    class_name = config_word(trainer["dict_class"])
    if class_name not in READERS:
        why = GATED if class_name == "GatedAutoEncoder" else f"expected {', '.join(READERS)}"
        raise UsageError(f"{config}: trainer.dict_class {class_name!r} is not read: {why}")
    return class_name


def _class_by_tensors(weights: Weights, named: str | None, file: Path) -> str:
    """The class of an autoencoder, by its tensors where no config.json says it."""
    if named is not None:
        return named
    if "r_mag" in weights:
        raise UsageError(f"{file} is a gated autoencoder, which is not read: {GATED}")
    if "group_sizes" in weights:
        return "MatryoshkaBatchTopKSAE"
    if "k" in weights:
        raise UsageError(f"{file}: {AMBIGUOUS}")
    if "W_enc" in weights:
        return "JumpReluAutoEncoder"
    return "AutoEncoder" if "bias" in weights else "AutoEncoderNew"


def _linear(weights: Weights) -> dict[str, Any]:
    """Encoder and decoder that are `nn.Linear`s."""
    encoder = weights.take("encoder.weight", None, None)
    n_concepts, width = encoder.shape
    bias, decoder = weights.take("encoder.bias", n_concepts), weights.take("decoder.weight", width, n_concepts)
    return {"encoder": encoder, "bias": bias, "decoder": decoder.T}


def _matrices(weights: Weights) -> dict[str, Any]:
    """Encoder and decoder that are plain matrices, and the decoder's bias."""
    encoder = weights.take("W_enc", None, None).T
    n_concepts, width = encoder.shape
    bias, decoder = weights.take("b_enc", n_concepts), weights.take("W_dec", n_concepts, width)
    return {"encoder": encoder, "bias": bias, "decoder": decoder, "added": weights.take("b_dec", width)}


def _relu(weights: Weights) -> dict[str, Any]:
    linear = _linear(weights)
    shift = weights.take("bias", linear["encoder"].shape[1])
    return {**linear, "subtracted": shift, "added": shift, "sparsity": ReLU()}


def _relu_new(weights: Weights) -> dict[str, Any]:
    linear = _linear(weights)
    added = weights.take("decoder.bias", linear["encoder"].shape[1])
    return {**linear, "subtracted": torch.zeros_like(added), "added": added, "sparsity": ReLU()}


def _top_k(weights: Weights) -> dict[str, Any]:
    linear = _linear(weights)
    n_concepts, width = linear["encoder"].shape
    shift = weights.take("b_dec", width)
    weights.drop("threshold")  # taken by `encode(use_threshold=True)` alone
    return {**linear, "subtracted": shift, "added": shift, "sparsity": TopK(), "k": weights.count("k", n_concepts)}


def _batch_top_k(weights: Weights) -> dict[str, Any]:
    parts = _linear(weights)
    shift = weights.take("b_dec", parts["encoder"].shape[1])
    return {**parts, "subtracted": shift, "added": shift, **_threshold(weights, len(parts["bias"]))}


def _matryoshka(weights: Weights) -> dict[str, Any]:
    parts = _matrices(weights)
    weights.drop("group_sizes")  # all groups are active, as the library loads it
    return {**parts, "subtracted": parts["added"], **_threshold(weights, len(parts["bias"]))}


def _threshold(weights: Weights, n_concepts: int) -> dict[str, Any]:
    """One threshold, and the mean count that it was measured for."""
    return {"sparsity": BatchTopK(), "threshold": weights.take("threshold"), "k": weights.count("k", n_concepts)}


def _jump_relu(weights: Weights) -> dict[str, Any]:
    parts = _matrices(weights)
    threshold = weights.take("threshold", len(parts["bias"]))
    # whether the decoder's bias is subtracted is not a part of the state: a loaded one does not
    return {**parts, "subtracted": torch.zeros_like(parts["added"]), "sparsity": JumpReLU(), "threshold": threshold}


READERS: Mapping[str, Callable[[Weights], dict[str, Any]]] = {
    "AutoEncoder": _relu,
    "AutoEncoderNew": _relu_new,
    "AutoEncoderTopK": _top_k,
    "BatchTopKSAE": _batch_top_k,
    "MatryoshkaBatchTopKSAE": _matryoshka,
    "JumpReluAutoEncoder": _jump_relu,
}
