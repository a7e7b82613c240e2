"""An autoencoder of any other library as plain tensors, and the USAE that computes the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from usae_train.backbones.backbone import Backbone
from usae_train.model.sparsity.topk import TopK
from usae_train.model.sparsity.variant import Sparsity
from usae_train.model.usae import IMPORTED, USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.torch_defaults import with_torch_defaults


@dataclass(frozen=True)
class SparseAutoencoder:
    """codes = sparsity((tokens - subtracted) @ encoder.T + bias); decoded = codes @ decoder + added.

    `subtracted` and `added` are often the same numbers, a decoder's bias.
    """

    format: str  # the library's, as `--format` names it
    architecture: str  # the library's own word
    encoder: Tensor  # (n_concepts, width)
    bias: Tensor  # (n_concepts,)
    decoder: Tensor  # (n_concepts, width)
    subtracted: Tensor  # (width,)
    added: Tensor  # (width,)
    sparsity: Sparsity
    k: int | None = None  # where the sparsity has none: all concepts
    threshold: Tensor | None = None  # of the shape that the sparsity asks for
    notes: tuple[str, ...] = ()  # what a user should know, a sentence each

    @property
    def n_concepts(self) -> int:
        """Size of its space."""
        return self.encoder.shape[0]

    @property
    def width(self) -> int:
        """Of its tokens."""
        return self.encoder.shape[1]


@with_torch_defaults
@torch.no_grad()
def as_usae(sae: SparseAutoencoder, name: str = "sae", backbone: Backbone | None = None) -> USAE:
    """A USAE of one backbone whose codes and decoded tokens are the autoencoder's.

    Args:
        sae: what was read.
        name: what its backbone is called.
        backbone: where its tokens come from; without one the USAE serves bare activations.

    Raises:
        ValueError: when the backbone's tokens have another width, or the autoencoder's sizes are impossible.
    """
    if backbone is not None and backbone.width != sae.width:
        raise UsageError(
            f"the autoencoder takes tokens of {sae.width} features, and {name} ({backbone.spec.model}, "
            f"{backbone.spec.place}) gives {backbone.width}; name the backbone that it was trained on"
        )
    usae = USAE(
        {name: sae.width},
        sae.n_concepts,
        sae.k or sae.n_concepts,
        specs=None if backbone is None else {name: backbone.spec},
        grid=None if backbone is None else backbone.grid,
        recipe=f"{IMPORTED} {sae.format} ({sae.architecture})",
        sparsity=sae.sparsity,
        unit_norm=False,
    )
    usae.encoder(name).linear.weight.copy_(sae.encoder)
    usae.encoder(name).linear.bias.copy_(sae.bias)
    usae.decoder(name).weight.copy_(sae.decoder)
    usae.scale(name).set_mean_token(sae.subtracted)
    usae.decoder(name).offset.copy_(sae.added - sae.subtracted)  # what is subtracted is added again
    if sae.threshold is not None:
        usae.thresholds[name].copy_(sae.threshold)
    if backbone is not None:
        usae.weights = {name: backbone.record()}
    return usae.eval().requires_grad_(False)


@with_torch_defaults
@torch.no_grad()
def of_usae(usae: USAE, name: str) -> SparseAutoencoder:
    """One backbone of a USAE as an autoencoder of raw tokens: standardization and BatchNorm are folded into it.

    Raises:
        ValueError: for a name that the USAE does not have.
    """
    usae.encoder(name)  # refuses unknown names
    every = torch.arange(usae.n_concepts)
    double = USAE(
        {name: usae.widths[name]},
        usae.n_concepts,
        usae.k,
        batch_norm=usae.batch_norm,
        sparsity=usae.sparsity,
        unit_norm=usae.unit_norm,
    ).double()
    parts = {key: value for key, value in usae.state_dict().items() if key.split(".")[1] == name}
    double.load_state_dict(parts)
    double.eval()
    weight, bias = double.readout(name, every)
    decoder, scale = double.decoder(name), double.scale(name)
    added = scale.inverse(decoder.offset[None])[0]
    rows = scale.inverse(decoder.rows) - scale.inverse(torch.zeros_like(decoder.rows))
    threshold = usae.thresholds[name].clone() if name in usae.thresholds else None
    k = usae.k if isinstance(usae.sparsity, TopK) or usae.k < usae.n_concepts else None
    return SparseAutoencoder(
        "usae",
        usae.sparsity.kind,
        weight.float(),
        bias.float(),
        rows.float(),
        torch.zeros_like(added).float(),
        added.float(),
        usae.sparsity,
        k,
        threshold,
    )
