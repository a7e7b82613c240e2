"""Small autoencoders that other libraries make and save themselves: for tests/train/sae_formats and formats.py.

Each is a function of a folder to write into; it returns where the autoencoder lies, and how its library computes.
The libraries are the extra `bench`; where one is not installed its functions raise ImportError.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

WIDTH, CONCEPTS, K = 12, 40, 5
os.environ.setdefault("SPARSIFY_DISABLE_TRITON", "1")  # with triton installed it decodes on a GPU alone

Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Peer:
    """A saved autoencoder, as its library has it."""

    place: Path
    encode: Step  # tokens (n, width) -> codes (n, concepts)
    decode: Step  # codes -> tokens
    options: Mapping[str, Any] = field(default_factory=dict)  # of read_sae, where the file does not say all


def tokens(count: int = 200, width: int = WIDTH) -> Tensor:
    """Tokens of a mean and scale of their own."""
    return torch.randn(count, width, generator=torch.Generator().manual_seed(1)) * 3 + 1


def filled(parameters: Iterable[tuple[str, Tensor]]) -> None:
    """Random numbers for every parameter; thresholds are positive."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in parameters:
        values = torch.randn(parameter.shape, generator=generator) * 0.4
        parameter.data.copy_(values.abs() if "threshold" in name else values)


def _saelens(kind: str, config: str, folder: Path, **settings: Any) -> Peer:
    import sae_lens

    made = getattr(sae_lens, config)(d_in=WIDTH, d_sae=CONCEPTS, **settings)
    sae = getattr(sae_lens, kind)(made).eval()
    filled(sae.named_parameters())
    sae.save_model(folder)
    return Peer(folder, *_of_saelens(folder))


def _of_saelens(folder: Path) -> tuple[Step, Step]:
    import sae_lens

    loaded = sae_lens.SAE.load_from_disk(folder)
    return loaded.encode, loaded.decode


def saelens_standard(folder: Path) -> Peer:
    """ReLU."""
    return _saelens("StandardSAE", "StandardSAEConfig", folder)


def saelens_standard_unshifted(folder: Path) -> Peer:
    """ReLU, whose decoder's bias is not subtracted before encoding."""
    return _saelens("StandardSAE", "StandardSAEConfig", folder, apply_b_dec_to_input=False)


def saelens_topk(folder: Path) -> Peer:
    """TopK."""
    return _saelens("TopKSAE", "TopKSAEConfig", folder, k=K)


def saelens_topk_rescaled(folder: Path) -> Peer:
    """TopK by pre-codes times the norms of the decoder's rows."""
    return _saelens("TopKSAE", "TopKSAEConfig", folder, k=K, rescale_acts_by_decoder_norm=True)


def saelens_jumprelu(folder: Path) -> Peer:
    """JumpReLU."""
    return _saelens("JumpReLUSAE", "JumpReLUSAEConfig", folder)


def _saelens_trained(kind: str, folder: Path, **settings: Any) -> Peer:
    """A few steps of its own training, and what it saves for inference."""
    import sae_lens
    from sae_lens.saes.sae import TrainStepInput

    sae = getattr(sae_lens, kind)(getattr(sae_lens, f"{kind}Config")(d_in=WIDTH, d_sae=CONCEPTS, k=K, **settings))
    filled(sae.named_parameters())
    optimizer = torch.optim.Adam(sae.parameters(), lr=1e-2)
    dead = torch.zeros(CONCEPTS, dtype=torch.bool)
    for step in range(30):
        step_input = TrainStepInput(
            sae_in=tokens(), coefficients={}, dead_neuron_mask=dead, n_training_steps=step, is_logging_step=False
        )
        sae.training_forward_pass(step_input).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    sae.save_inference_model(folder)
    return Peer(folder, *_of_saelens(folder))


def saelens_batchtopk(folder: Path) -> Peer:
    """BatchTopK, which it saves as JumpReLU."""
    return _saelens_trained("BatchTopKTrainingSAE", folder)


def saelens_matryoshka(folder: Path) -> Peer:
    """Matryoshka BatchTopK, which it saves as JumpReLU."""
    return _saelens_trained("MatryoshkaBatchTopKTrainingSAE", folder, matryoshka_widths=[10, CONCEPTS])


def sparsify_topk(folder: Path) -> Peer:
    """TopK after a ReLU."""
    from sparsify import SparseCoder, SparseCoderConfig

    sae = SparseCoder(WIDTH, SparseCoderConfig(num_latents=CONCEPTS, k=K))
    filled(sae.named_parameters())
    sae.save_to_disk(folder)
    return Peer(folder, *_of_sparsify(folder))


def _of_sparsify(folder: Path) -> tuple[Step, Step]:
    from sparsify import SparseCoder

    loaded = SparseCoder.load_from_disk(folder)

    def encode(batch: Tensor) -> Tensor:
        encoded = loaded.encode(batch)
        return batch.new_zeros(len(batch), loaded.num_latents).scatter(1, encoded.top_indices, encoded.top_acts)

    def decode(codes: Tensor) -> Tensor:
        tokens: Tensor = loaded.decode(*codes.topk(codes.shape[1], dim=1))
        return tokens

    return encode, decode


def saev_relu(folder: Path) -> Peer:
    """What saev 0.1.0 writes: ReLU."""
    from saev.config import SparseAutoencoder as Config
    from saev.nn import SparseAutoencoder, dump, load

    sae = SparseAutoencoder(Config(d_vit=WIDTH, exp_factor=4))
    filled(sae.named_parameters())
    file = folder / "sae.pt"
    dump(str(file), sae)
    loaded = load(str(file))
    return Peer(file, lambda tokens: loaded(tokens)[1], loaded.decode)


def saev_newer(folder: Path, activation: str) -> Peer:
    """What saev writes since schema 2; no release has it, it is run from its repository."""
    from saev.nn import modeling

    settings = {} if activation == "Relu" else {"top_k": K}
    activation_config = getattr(modeling, activation)(**settings)
    config = modeling.SparseAutoencoderConfig(d_model=WIDTH, d_sae=CONCEPTS, activation=activation_config)
    sae = modeling.SparseAutoencoder(config)
    filled(sae.named_parameters())
    if activation == "BatchTopK":
        sae.train()(tokens())
    file = folder / "sae.pt"
    modeling.dump(file, sae)
    loaded = modeling.load(file).eval()
    return Peer(file, lambda batch: loaded.encode(batch).f_x, lambda codes: loaded.decode(codes)[:, -1])


def _overcomplete(kind: str, folder: Path, options: Mapping[str, Any], **settings: Any) -> Peer:
    from overcomplete import sae as library

    sae = getattr(library, kind)(WIDTH, CONCEPTS, **settings)
    filled(sae.encoder.named_parameters())
    if kind.startswith("RA"):
        filled(sae.dictionary.named_parameters())
    if "Jump" in kind:
        filled((("thresholds", sae.thresholds),))
    sae.train()(tokens())  # its BatchNorm, and a running threshold, see tokens
    sae.eval()
    file = folder / "sae.pt"
    torch.save(sae.state_dict(), file)
    if kind == "BatchTopKSAE":
        options = {"threshold": float(sae.running_threshold)}
    return Peer(file, lambda batch: sae.encode(batch)[1], sae.decode, options)


def overcomplete_topk(folder: Path) -> Peer:
    """TopK, with its linear encoder."""
    return _overcomplete("TopKSAE", folder, {"k": K}, top_k=K)


def overcomplete_topk_norm(folder: Path) -> Peer:
    """TopK, with a BatchNorm after its linear encoder."""
    return _overcomplete("TopKSAE", folder, {"k": K}, top_k=K, encoder_module="mlp_bn_1")


def overcomplete_batchtopk(folder: Path) -> Peer:
    """BatchTopK, whose threshold is in no file."""
    return _overcomplete("BatchTopKSAE", folder, {}, top_k=K * 200)


def overcomplete_jump(folder: Path) -> Peer:
    """JumpReLU."""
    return _overcomplete("JumpSAE", folder, {})


def overcomplete_archetypal(folder: Path) -> Peer:
    """TopK with a relaxed archetypal dictionary."""
    return _overcomplete("RATopKSAE", folder, {"k": K}, top_k=K, points=tokens(60))


def overcomplete_archetypal_jump(folder: Path) -> Peer:
    """JumpReLU with a relaxed archetypal dictionary."""
    return _overcomplete("RAJumpSAE", folder, {}, points=tokens(60))


def overcomplete_tied(folder: Path) -> Peer:
    """TopK whose encoder is its dictionary."""
    from overcomplete import sae as library

    sae = library.TopKSAE(WIDTH, CONCEPTS, top_k=K).tied(bias=True)
    sae.train()(tokens())
    sae.eval()
    torch.save(sae.state_dict(), folder / "sae.pt")
    return Peer(folder / "sae.pt", lambda batch: sae.encode(batch)[1], sae.decode, {"k": K})


def _dictionary_learning(kind: str, folder: Path, *settings: Any, threshold: float | None = None) -> Peer:
    import json
    from importlib import import_module

    homes = ("dictionary", "trainers.top_k", "trainers.batch_top_k", "trainers.matryoshka_batch_top_k")
    rooms = [import_module(f"dictionary_learning.{home}") for home in homes]
    library = next(getattr(room, kind) for room in rooms if hasattr(room, kind))
    sae = library(WIDTH, CONCEPTS, *settings)
    filled(sae.named_parameters())
    if threshold is not None:
        sae.threshold.fill_(threshold)
    torch.save(sae.state_dict(), folder / "ae.pt")
    (folder / "config.json").write_text(json.dumps({"trainer": {"dict_class": kind}}))
    return Peer(folder, sae.encode, sae.decode)


def dictionary_learning_relu(folder: Path) -> Peer:
    """AutoEncoder: ReLU."""
    return _dictionary_learning("AutoEncoder", folder)


def dictionary_learning_relu_new(folder: Path) -> Peer:
    """AutoEncoderNew: ReLU, with a decoder's bias that is not subtracted."""
    return _dictionary_learning("AutoEncoderNew", folder)


def dictionary_learning_topk(folder: Path) -> Peer:
    """TopK."""
    return _dictionary_learning("AutoEncoderTopK", folder, K)


def dictionary_learning_batchtopk(folder: Path) -> Peer:
    """BatchTopK with a threshold."""
    return _dictionary_learning("BatchTopKSAE", folder, K, threshold=2.0)


def dictionary_learning_matryoshka(folder: Path) -> Peer:
    """Matryoshka BatchTopK with a threshold."""
    return _dictionary_learning("MatryoshkaBatchTopKSAE", folder, K, [10, CONCEPTS - 10], threshold=2.0)


def dictionary_learning_jumprelu(folder: Path) -> Peer:
    """JumpReLU."""
    return _dictionary_learning("JumpReluAutoEncoder", folder)


def prisma(folder: Path, activation: str) -> Peer:
    """A standard one of Prisma's; no release has them, it is run from its repository."""
    from vit_prisma.sae.config import VisionModelSAERunnerConfig
    from vit_prisma.sae.sae import StandardSparseAutoencoder

    config = VisionModelSAERunnerConfig(
        d_in=WIDTH,
        expansion_factor=4,
        activation_fn_str=activation,
        normalize_activations="none",
        _device="cpu",
        activation_fn_kwargs={"k": K} if activation == "topk" else {},
    )
    sae = StandardSparseAutoencoder(config)
    filled(sae.named_parameters())
    sae.save_model(str(folder / "weights.pt"))
    return Peer(folder, lambda tokens: sae.encode(tokens)[1], sae.decode)


Maker = Callable[[Path], Peer]

MAKERS: Mapping[str, Mapping[str, Maker]] = {
    "saelens": {
        "standard": saelens_standard,
        "standard, nothing subtracted": saelens_standard_unshifted,
        "topk": saelens_topk,
        "topk, rescaled": saelens_topk_rescaled,
        "jumprelu": saelens_jumprelu,
        "batchtopk": saelens_batchtopk,
        "matryoshka": saelens_matryoshka,
    },
    "sparsify": {"topk": sparsify_topk},
    "saev": {"relu (0.1.0)": saev_relu},
    "overcomplete": {
        "TopK": overcomplete_topk,
        "TopK, BatchNorm": overcomplete_topk_norm,
        "TopK, tied": overcomplete_tied,
        "BatchTopK": overcomplete_batchtopk,
        "Jump": overcomplete_jump,
        "RATopK": overcomplete_archetypal,
        "RAJump": overcomplete_archetypal_jump,
    },
    "dictionary_learning": {
        "AutoEncoder": dictionary_learning_relu,
        "AutoEncoderNew": dictionary_learning_relu_new,
        "TopK": dictionary_learning_topk,
        "BatchTopK": dictionary_learning_batchtopk,
        "Matryoshka": dictionary_learning_matryoshka,
        "JumpReLU": dictionary_learning_jumprelu,
    },
}
# From their repositories, on PYTHONPATH: no release on PyPI has them
UNRELEASED: Mapping[str, Mapping[str, Maker]] = {
    "saev": {f"{kind} (schema 5)": partial(saev_newer, activation=kind) for kind in ("Relu", "TopK", "BatchTopK")},
    "prisma": {kind: partial(prisma, activation=kind) for kind in ("relu", "topk")},
}
READ_AGAIN: Mapping[str, Callable[[Path], tuple[Step, Step]]] = {"saelens": _of_saelens, "sparsify": _of_sparsify}
