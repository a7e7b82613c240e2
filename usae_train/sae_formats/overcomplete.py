"""overcomplete 0.3: a state dict that torch wrote, which does not state its class (KempnerInstitute/overcomplete)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from usae_train.model.published import ATOMS, LINEAR, NORM
from usae_train.model.sparsity.batchtopk import BatchTopK
from usae_train.model.sparsity.jumprelu import JumpReLU
from usae_train.model.sparsity.topk import TopK
from usae_train.runtime.errors import UsageError
from usae_train.sae_formats.format import Format, UserAnswers
from usae_train.sae_formats.sae import SparseAutoencoder
from usae_train.sae_formats.torch_files import TORCH_SUFFIXES, load_tensors
from usae_train.sae_formats.weights import Weights, check_count

ARCHETYPES = "dictionary.W"  # the tensor of an archetypal dictionary, which has no `ATOMS`
EPSILON = 1e-5  # torch's default in BatchNorm1d, which overcomplete keeps
DELTA = 1.0001  # their default bound of the rest's norm, with a margin for rounding
UNIT = 0.1  # rows this near to norm 1 are taken for the default's: one step of its optimizer moves them by less
STANDARDIZED = "no mean and spread are in its file: if its tokens were standardized for training, so must these be"
NO_COUNT = (
    "does not say which of overcomplete's it is, TopK, BatchTopK and plain SAE having the same tensors; give --k for "
    "TopK, --threshold (its running_threshold) for BatchTopK, --threshold 0 for the plain one"
)


class Overcomplete(Format):
    """TopK, BatchTopK, Jump, each with a free or an archetypal dictionary, and a linear encoder."""

    name = "overcomplete"
    asks = frozenset({"k", "threshold"})

    def recognizes(self, place: Path) -> bool:
        """By the names of its tensors."""
        if not place.is_file() or place.suffix not in TORCH_SUFFIXES:
            return False
        try:
            content = load_tensors(place, place)
        except UsageError:
            return False
        return isinstance(content, dict) and (ATOMS in content or ARCHETYPES in content)

    def read(self, place: Path, answers: UserAnswers) -> SparseAutoencoder:
        """See `Format`."""
        weights = Weights(load_tensors(place, place), place)
        decoder, notes = _archetypes(weights) if ARCHETYPES in weights else _atoms(weights)
        n_concepts, width = decoder.shape
        kind, sparsity = _sparsity(weights, answers, place, n_concepts)
        encoder, bias = _encoder(weights, decoder)
        notes = (STANDARDIZED, *notes, *weights.done(f"overcomplete's {kind} with a linear encoder"))
        zero = torch.zeros(width)
        return SparseAutoencoder(self.name, kind, encoder, bias, decoder, zero, zero, **sparsity, notes=notes)


def _sparsity(weights: Weights, answers: UserAnswers, file: Path, n_concepts: int) -> tuple[str, dict[str, Any]]:
    """The class, and which concepts are active. Its thresholds are to be reached, ours to be exceeded."""
    if "thresholds" in weights:
        threshold = weights.take("thresholds", n_concepts).exp()
        return "Jump", {"sparsity": JumpReLU(), "threshold": just_below(threshold)}
    if answers.threshold is not None:
        threshold = just_below(torch.tensor(answers.threshold))
        if answers.k is None:  # its top_k is of a batch, and says nothing of a token
            return "BatchTopK", {"sparsity": JumpReLU(), "threshold": threshold.expand(n_concepts)}
        k = check_count(answers.k, "--k", file, n_concepts)
        return "BatchTopK", {"sparsity": BatchTopK(), "k": k, "threshold": threshold}
    if answers.k is None:
        raise UsageError(f"{file} {NO_COUNT}")
    return "TopK", {"sparsity": TopK(), "k": check_count(answers.k, "--k", file, n_concepts)}


def just_below(threshold: Tensor) -> Tensor:
    """The next smaller numbers: what exceeds them reaches `threshold`."""
    return threshold.nextafter(torch.tensor(-torch.inf))


def _encoder(weights: Weights, decoder: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear encoder, with a BatchNorm folded in; of one that is tied, the dictionary's rows."""
    n_concepts, width = decoder.shape
    if f"{LINEAR}.weight" not in weights:
        tied = [key for key in weights.names() if key.startswith("encoder.tied_to.")]
        weight = decoder if tied else weights.take("encoder.weight", n_concepts, width)
        weights.drop(*tied)
        has_bias = "encoder.bias" in weights
        return weight, weights.take("encoder.bias", n_concepts) if has_bias else torch.zeros(n_concepts)
    weight, bias = weights.take(f"{LINEAR}.weight", n_concepts, width), weights.take(f"{LINEAR}.bias", n_concepts)
    if f"{NORM}.running_var" not in weights:
        return weight, bias
    parts = ("weight", "bias", "running_mean", "running_var")
    gain, shift, mean, variance = (weights.take(f"{NORM}.{part}", n_concepts).double() for part in parts)
    weights.drop(f"{NORM}.num_batches_tracked")
    gain = gain / (variance + EPSILON).sqrt()
    return (weight * gain[:, None]).float(), ((bias - mean) * gain + shift).float()


def _atoms(weights: Weights) -> tuple[Tensor, tuple[str, ...]]:
    """A free dictionary: rows of norm 1 times a multiplier, as by default."""
    rows = weights.take(ATOMS, None, None)
    norms = rows.norm(dim=1)
    if bool(((norms - 1).abs() > UNIT).any()):
        raise UsageError(
            f"{weights.file}: the rows of {ATOMS} have norms of {norms.min():.3g} to {norms.max():.3g}: it was trained "
            "with another normalization than the default l2, and the file does not say which"
        )
    return rows / norms[:, None] * weights.take("dictionary.multiplier").exp(), ()


def _archetypes(weights: Weights) -> tuple[Tensor, tuple[str, ...]]:
    """A relaxed archetypal dictionary: convex mixtures of points, and a rest that `delta` bounds."""
    points = weights.take("dictionary.C", None, None)
    mixture = weights.take(ARCHETYPES, None, len(points)).relu()
    mixture = mixture / (mixture.sum(-1, keepdim=True) + 1e-8)  # theirs
    rest = weights.take("dictionary.Relax", len(mixture), points.shape[1])
    largest = float(rest.norm(dim=1).max())
    notes = (f"the rest of its archetypes is taken as it is, to a norm of {largest:.3g}: delta is not in its file",)
    dictionary = (mixture @ points + rest) * weights.take("dictionary.multiplier").exp()
    return dictionary, notes if largest > DELTA else ()
