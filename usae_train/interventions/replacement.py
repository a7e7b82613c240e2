"""A network's logits when its patch tokens are replaced by their reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from usae_train.backbones.backbone import as_tokens
from usae_train.interventions.edit_site import EditSite
from usae_train.interventions.importance import IMAGES_PER_PASS, find_answering_site
from usae_train.model.sparse import Codes
from usae_train.model.usae import USAE
from usae_train.runtime.torch_defaults import with_torch_defaults

CLEAN, ZERO, MEAN = range(3)  # rows before those of the backbones' codes


@with_torch_defaults
@torch.no_grad()
def replaced_logits(usae: USAE, backbone: str, canvases: Tensor, tokens_by_source: Mapping[str, Tensor]) -> Tensor:
    """Logits of pictures with patch tokens unchanged, as zeros, as the mean token, and as D(z) of backbones' codes.

    The part that the space does not explain is left out. The mean token is what the space decodes where no concept
    fires. What comes before the read layer runs once.

    Args:
        usae: a USAE with backbones.
        backbone: one with a classifier.
        canvases: (pictures, 3, H, W), 0..1.
        tokens_by_source: {backbone: its tokens (pictures, token, width) of these pictures, on its own grid}, whose
            codes are taken.

    Returns:
        (3 + backbones, pictures, classes): clean, zeros, the mean, then by the codes of each of `tokens_by_source`.

    Raises:
        ValueError: for a backbone without classifier, or whose classifier the read patches do not reach.
    """
    network, site = find_answering_site(usae, backbone)
    canvases = canvases.to(network.mean.device)
    size = max(1, IMAGES_PER_PASS // (MEAN + 1 + len(tokens_by_source)))
    logits = []
    for first in range(0, len(canvases), size):
        chunk = slice(first, first + size)
        decoded = [_decoded(usae, backbone, name, tokens[chunk]) for name, tokens in tokens_by_source.items()]
        logits.append(_logits(usae, backbone, site, canvases[chunk], decoded))
    return torch.cat(logits, 1)


def mean_token(usae: USAE, backbone: str) -> Tensor:
    """(width,): what no codes decode to."""
    dictionary = usae.rows(backbone)
    none = Codes(dictionary.new_zeros(1, 1), torch.zeros(1, 1, dtype=torch.long, device=dictionary.device))
    return usae.decode(backbone, none)[0]


def _decoded(usae: USAE, backbone: str, source: str, tokens: Tensor) -> Tensor:
    """D(z) for a backbone, on its own grid, from another one's codes there."""
    features = tokens.mT.unflatten(2, usae.backbones[source].grid)
    return usae.decode(backbone, usae.encode(source, as_tokens(features, usae.backbones[backbone].grid).contiguous()))


def _logits(usae: USAE, backbone: str, site: EditSite, canvases: Tensor, decoded: list[Tensor]) -> Tensor:
    """(3 + decoded, pictures, classes)."""
    network = usae.backbones[backbone]
    count = MEAN + 1 + len(decoded)

    mean = mean_token(usae, backbone)

    def version(output: Tensor, number: int) -> Tensor:
        if number == CLEAN:
            return output
        tokens = site.read(output)
        replacements = (torch.zeros_like(tokens), mean.expand_as(tokens), *decoded)
        return site.move(output, replacements[number - 1] - tokens)

    if site.grows:
        with site.hook(lambda output: torch.cat([version(output, number) for number in range(count)])):
            answers: Tensor = network.logits(canvases).unflatten(0, (count, len(canvases)))
            return answers
    logits = []
    for number in range(count):
        with site.hook(partial(version, number=number)):
            logits.append(network.logits(canvases))
    return torch.stack(logits)
