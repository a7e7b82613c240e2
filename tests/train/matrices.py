"""R² of bare tokens, as add-backbone measures it on held-out pictures."""

from collections.abc import Mapping

import torch

from usae_train.evaluation.metrics import Matrix
from usae_train.model.usae import USAE
from usae_train.tokens.paired import PairedTokens
from usae_train.training.add_backbone import held_out_r2


def r2_matrix(usae: USAE, tokens: Mapping[str, torch.Tensor]) -> Matrix:
    """{from: {to: R²}} of tokens {backbone: (n, width)}, taken as one picture."""
    return held_out_r2(usae, PairedTokens({name: own[None] for name, own in tokens.items()}, torch.zeros(1)))
