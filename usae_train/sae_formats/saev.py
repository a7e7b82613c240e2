"""saev: one .pt file, a line of JSON and then what torch wrote (github.com/OSU-NLP-Group/saev).

Its versions compute differently from the same file. 0.1.0 (on PyPI), whose line has no `schema`, subtracts the
decoder's bias before encoding; from schema 2 on (commit 654befb) nothing is subtracted. Between them, under schema 1,
the subtraction was dropped without a new number (commit e7ca004): such a file is read only where it has no effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from usae_train.files.json_files import as_object, parse_json
from usae_train.files.regular import check_regular
from usae_train.model.sparsity.batchtopk import BatchTopK
from usae_train.model.sparsity.relu import ReLU
from usae_train.model.sparsity.topk import TopK
from usae_train.runtime.errors import UsageError
from usae_train.sae_formats.format import Format, UserAnswers
from usae_train.sae_formats.sae import SparseAutoencoder
from usae_train.sae_formats.torch_files import load_tensors
from usae_train.sae_formats.weights import Weights, check_config_sizes, check_count

MAX_HEADER_BYTES = 100_000  # largest header line in bytes; theirs have 1,000
SCHEMAS = (None, 1, 2, 3, 4, 5)
ACTIVATIONS = ("Relu", "TopK", "BatchTopK")


class Saev(Format):
    """ReLU, TopK (whose codes may be negative) and BatchTopK with a threshold."""

    name = "saev"

    def recognizes(self, place: Path) -> bool:
        """By the header line before torch's bytes."""
        if not place.is_file():
            return False
        with place.open("rb") as opened:
            line = opened.readline(MAX_HEADER_BYTES)
            return line.startswith(b"{") and line.endswith(b"}\n") and opened.read(2) == b"PK"

    def read(self, place: Path, answers: UserAnswers) -> SparseAutoencoder:
        """See `Format`."""
        header, content = _split_header(place)
        schema = header.get("schema")
        if schema not in SCHEMAS or isinstance(schema, bool):
            raise UsageError(f"{place}: schema {schema!r} is not known; expected none, or 1 to 5")
        activation, settings = _activation(header, place)
        weights = Weights(load_tensors(content, place), place)
        encoder = weights.take("W_enc", None, None).T
        n_concepts, width = encoder.shape
        sizes = header["cfg"] if isinstance(header.get("cfg"), Mapping) else header
        check_config_sizes(sizes, {"d_vit": width, "d_model": width, "d_sae": n_concepts}, place)
        bias, decoder = weights.take("b_enc", n_concepts), weights.take("W_dec", n_concepts, width)
        added = weights.take("b_dec", width)
        sparsity = _sparsity(activation, settings, weights, place, n_concepts)
        if schema == 1 and bool(added.any()):
            raise UsageError(
                f"{place} has schema 1, under which saev first subtracted the decoder's bias and later did not, and "
                "its bias is not zero; load it with the saev that wrote it, and save it with one of schema 2 or later"
            )
        subtracted = added if schema is None else torch.zeros_like(added)
        return SparseAutoencoder(
            self.name, activation, encoder, bias, decoder, subtracted, added, **sparsity, notes=weights.done("saev's")
        )


def _split_header(place: Path) -> tuple[dict[str, Any], bytes]:
    """The header, and the bytes after it."""
    check_regular(place)
    try:
        with place.open("rb") as opened:
            line, content = opened.readline(MAX_HEADER_BYTES), opened.read()
        return as_object(parse_json(line)), content
    except OSError as error:
        raise UsageError(f"{place} cannot be read: {error.strerror}") from error
    except UsageError as error:
        raise UsageError(f"{place} does not begin with a line of JSON, as saev's do: {error}") from error


def _activation(header: Mapping[str, Any], place: Path) -> tuple[str, Mapping[str, Any]]:
    """The name of the activation, and its settings, in the form of its schema."""
    if "schema" not in header:
        return "Relu", {}
    config = header.get("cfg")
    if not isinstance(config, Mapping):
        raise UsageError(f"{place}: the line before the tensors has no `cfg`")
    activation = config.get("activation")
    if header["schema"] == 1 and header.get("cls") in ACTIVATIONS:
        name, settings = header["cls"], config
    elif isinstance(activation, Mapping) and isinstance(activation.get("params"), Mapping):
        name, settings = activation.get("cls"), activation["params"]
    else:
        raise UsageError(f"{place}: the line before the tensors names no activation")
    if name not in ACTIVATIONS:
        raise UsageError(f"{place}: activation {name!r} is not read; expected {', '.join(ACTIVATIONS)}")
    return name, settings


def _sparsity(name: str, settings: Mapping[str, Any], weights: Weights, place: Path, n_concepts: int) -> dict[str, Any]:
    if name == "Relu":
        return {"sparsity": ReLU()}
    k = min(check_count(settings.get("top_k", 32), "top_k", place, 2**24), n_concepts)
    if name == "TopK":
        return {"sparsity": TopK(signed=True), "k": k}
    if "activation.threshold" not in weights:
        raise UsageError(f"{place}: BatchTopK without its threshold; what it encodes would depend on the batch")
    return {"sparsity": BatchTopK(), "k": k, "threshold": weights.take("activation.threshold")}
