"""sparsify (eai-sparsify 1.3): a folder with cfg.json and sae.safetensors (github.com/EleutherAI/sparsify)."""

from __future__ import annotations

from pathlib import Path

from usae_train.files.json_files import read_named_object
from usae_train.files.tensor_files import save_tensors
from usae_train.model.sparsity.topk import TopK
from usae_train.runtime.errors import UsageError
from usae_train.runtime.json_text import json_text
from usae_train.sae_formats.format import Format, UserAnswers
from usae_train.sae_formats.sae import SparseAutoencoder
from usae_train.sae_formats.weights import check_count, read_tensors

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
IGNORED = {
    "expansion_factor",
    "normalize_decoder",
    "multi_topk",
}  # without effect once trained
KNOWN = IGNORED | {"activation", "num_latents", "k", "skip_connection", "transcode", "d_in"}


class Sparsify(Format):
    """TopK with a decoder's bias that is subtracted first; `groupmax`, skip connections and transcoders are refused."""

    name = "sparsify"

    def recognizes(self, place: Path) -> bool:
        """By the name of its tensors' file."""
        return (place / WEIGHTS).is_file()

    def read(self, place: Path, answers: UserAnswers) -> SparseAutoencoder:
        """See `Format`."""
        file = place / CONFIG
        config = read_named_object(file)
        if odd := sorted(config.keys() - KNOWN):
            raise UsageError(f"{file}: {odd[0]} is not a key of sparsify 1.3, which leaves it out")
        refused = {
            "transcode": "it decodes to another place than it encodes",
            "skip_connection": "it adds a linear map of the tokens, which codes do not carry",
        }
        for key, why in refused.items():
            if config.get(key, False) is not False:
                raise UsageError(f"{file}: {key} {config[key]!r} is not read: {why}")
        if (kind := config.get("activation", "topk")) != "topk":
            raise UsageError(f"{file}: activation {kind!r} is not read: it keeps one concept per group; only `topk` is")
        weights = read_tensors(place / WEIGHTS)
        encoder = weights.take("encoder.weight", None, None)
        n_concepts, width = encoder.shape
        if config.get("d_in") != width:
            raise UsageError(f"{file}: d_in is {config.get('d_in')!r}, and encoder.weight in {WEIGHTS} has {width}")
        bias, decoder = weights.take("encoder.bias", n_concepts), weights.take("W_dec", n_concepts, width)
        b_dec = weights.take("b_dec", width)
        return SparseAutoencoder(
            self.name,
            "topk",
            encoder,
            bias,
            decoder,
            b_dec,
            b_dec,
            TopK(),
            check_count(config.get("k", 32), "k", file, n_concepts),
            notes=weights.done("sparsify's autoencoder"),
        )

    def write(self, sae: SparseAutoencoder, folder: Path) -> None:
        """See `Format`; it subtracts what it adds, and the encoder's bias compensates for that."""
        if sae.sparsity != TopK():
            raise UsageError(f"sparsify has topk after a ReLU alone, and this is {sae.sparsity.kind}; use saelens")
        config = {
            "activation": "topk",
            "expansion_factor": 32,
            "normalize_decoder": False,
            "num_latents": sae.n_concepts,
            "k": sae.k,
            "multi_topk": False,
            "skip_connection": False,
            "transcode": False,
            "d_in": sae.width,
        }
        (folder / CONFIG).write_text(json_text(config, indent=1) + "\n")
        shift = (sae.added - sae.subtracted).double() @ sae.encoder.double().T
        weights = {"encoder.weight": sae.encoder, "encoder.bias": (sae.bias.double() + shift).float()}
        save_tensors({**weights, "W_dec": sae.decoder, "b_dec": sae.added}, folder / WEIGHTS)
