"""How much of some tokens is explained: the package's own R², for benchmarks that decode them by other means."""

from torch import Tensor

from usae_train.evaluation.metrics import Reconstruction


def r2(tokens: Tensor, decoded: Tensor) -> float:
    """R² around each feature's own mean, of tokens (n, width) and what they were decoded to."""
    sums = Reconstruction(["it"], ["it"])
    sums.add_tokens("it", tokens)
    sums.add_decoded("it", "it", tokens, decoded)
    return sums.r2["it"]["it"]
