"""What concepts do to a class's logit: exactly, each taken away in turn, and as a gradient says it at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from usae_train.interventions.edits import raw_atoms
from usae_train.interventions.intervene import editable
from usae_train.model.sparse import Codes
from usae_train.model.usae import USAE
from usae_train.undisturbed import undisturbed

AT_ONCE = 32  # pictures that what follows the read layer takes at a time: their tokens are those of a small batch


class Seen(NamedTuple):
    """What a backbone makes of one picture, in one pass."""

    codes: Codes  # (token, k) on its own grid
    logits: Tensor  # (classes,)


@undisturbed
@torch.no_grad()
def seen(usae: USAE, backbone: str, canvas: Tensor) -> Seen:
    """Codes at the backbone's own grid, and logits, of a canvas (1, 3, H, W), in one pass.

    Raises:
        ValueError: for a backbone without classifier, or whose read layer cannot be edited.
    """
    network, site = editable(usae, backbone)
    tokens: list[Tensor] = []

    def look(output: Tensor) -> None:
        tokens.append(site.read(output))

    with site.hooked(look):
        logits = network.logits(canvas.to(network.mean.device))
    codes = usae.encode(backbone, tokens[0][0])
    return Seen(codes, logits[0])


@undisturbed
@torch.no_grad()
def without_each(
    usae: USAE, backbone: str, canvas: Tensor, removed: Sequence[Sequence[int]]
) -> Tensor:  # fmt: skip
    """Logits of one picture as it is, and with each set of concepts taken away: (1 + sets, classes).

    What comes before the read layer runs once; only what follows is run for each.

    Args:
        usae: with its backbones.
        backbone: one with a classifier.
        canvas: (1, 3, H, W), 0..1.
        removed: sets of concepts.
    """
    network, site = editable(usae, backbone)
    canvas = canvas.to(network.mean.device)
    logits: list[Tensor] = []
    for first in range(0, len(removed) + 1, AT_ONCE):
        sets = [(), *removed][first : first + AT_ONCE]

        def edited(output: Tensor, sets: Sequence[Sequence[int]] = sets) -> Tensor:
            codes = usae.encode(backbone, site.read(output[:1]))
            by = torch.cat([_taken_away(usae, backbone, codes, list(own)) for own in sets])
            return site.moved(output.expand(len(sets), *output.shape[1:]), by)

        with site.hooked(edited):
            logits.append(network.logits(canvas if site.grows else canvas.expand(len(sets), -1, -1, -1)))
    return torch.cat(logits)


def _taken_away(usae: USAE, backbone: str, codes: Codes, concepts: list[int]) -> Tensor:
    """What raw tokens (1, token, width) change by when concepts' codes become zero."""
    if not concepts:
        return codes.values.new_zeros(*codes.values.shape[:-1], usae.widths[backbone])
    own = torch.stack([codes.of(concept) for concept in concepts], -1)
    return -own @ raw_atoms(usae, backbone, concepts)


@undisturbed
def gradient_times_code(usae: USAE, backbone: str, canvas: Tensor, class_: int) -> Tensor:
    """(n_concepts,): the first-order estimate of what a logit loses when each concept is taken away.

    The sum over patches of code * d logit / d code; attribution patching (Nanda 2023) of ablation.

    Args:
        usae: with its backbones.
        backbone: one with a classifier.
        canvas: (1, 3, H, W), 0..1.
        class_: the class.
    """
    network, site = editable(usae, backbone)
    kept: list[Tensor] = []

    def begin(output: Tensor) -> Tensor:
        stream = output.detach().requires_grad_()
        kept.append(stream)
        return stream.clone()  # what follows may write into it

    with site.hooked(begin):
        logit = network.logits(canvas.to(network.mean.device))[0, class_]
    (gradient,) = torch.autograd.grad(logit, kept[0])
    with torch.no_grad():
        tokens = site.layout.tokens(gradient)[:, site.layout.prefix :]
        if site.norm is not None:
            tokens = tokens / site.norm.gain(site.layout.tokens(kept[0])[:, site.layout.prefix :])
        codes = usae.encode(backbone, site.read(kept[0]))
        slopes = tokens @ raw_atoms(usae, backbone, list(range(usae.n_concepts))).mT
        each = codes.values * slopes.gather(-1, codes.indices)
        return each.new_zeros(usae.n_concepts).index_add_(0, codes.indices.flatten(), each.flatten())
