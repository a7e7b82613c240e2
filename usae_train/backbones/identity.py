"""Whether a backbone is the one that a USAE was trained with: a hash of its weights, and what it sees in a picture."""

from __future__ import annotations

import base64
import hashlib
import math
import warnings
from collections.abc import Mapping

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from usae_train.files.validation import FrozenModel
from usae_train.runtime.errors import UsageError
from usae_train.runtime.warning_kinds import SimilarWeightsWarning

RECORDED_TOKENS = 16  # tokens, and features of each, that a record keeps: 1 KB per backbone
# Largest difference of the tokens, as a share of their spread, that other precision of the same weights makes.
# The three networks of shared/real, rounded to bfloat16, the coarsest that is common: 0.007, 0.035 and 0.037. With
# each weight moved by 1% of itself at random, as by a little training: 0.04, 0.23 and 0.28.
TOLERANCE = 0.05


class WeightsRecord(FrozenModel):
    """What a USAE and a store keep of a backbone's weights."""

    sha256: str = Field(description="of the model's tensors as they were loaded, whatever file they came from")
    tokens: str = Field(description="of the test picture, 16 x 16 of them: float32, little-endian, in base64")

    @field_validator("tokens")
    @classmethod
    def _of_numbers(cls, tokens: str) -> str:
        try:
            _unpack(tokens)
        except ValueError as error:
            raise UsageError(f"not float32 numbers in base64 ({error})") from error
        return tokens

    def distance(self, other: WeightsRecord) -> float:
        """How far another's tokens are from these, as a share of their spread; infinite where they are of other sizes.

        Raises:
            ValueError: for tokens that are not numbers.
        """
        values, others = _unpack(self.tokens), _unpack(other.tokens)
        if values.shape != others.shape:
            return math.inf
        return float(np.linalg.norm(others - values) / max(float(np.linalg.norm(values - values.mean())), 1e-12))


def weights_hash(model: nn.Module) -> str:
    """sha256 of a model's floating-point tensors, by name: those that decide what it says."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if tensor.is_floating_point():
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def trial_picture(size: int) -> Tensor:
    """(1, 3, size, size), 0..1: waves of other lengths and directions in each channel, and a bright square."""
    place = torch.arange(size, dtype=torch.float64) / size
    rows, cols = place[:, None], place[None, :]
    waves = [
        0.5 + 0.5 * torch.sin(2 * math.pi * (down * rows + across * cols)) * torch.cos(7 * rows * cols)
        for down, across in ((2, 3), (9, -4), (1, 17))
    ]
    picture = torch.stack(waves)
    picture[:, size // 8 : size // 3, size // 2 : -size // 8] = 1
    return picture.float()[None]


def sample_tokens(tokens: Tensor) -> str:
    """Some of a picture's tokens (token, width), spread over all of them, as a record keeps them."""
    rows, cols = (torch.linspace(0, count - 1, min(RECORDED_TOKENS, count)).round().long() for count in tokens.shape)
    chosen = tokens.float().cpu()[rows][:, cols]
    return base64.b64encode(chosen.contiguous().numpy().astype("<f4").tobytes()).decode()


def _unpack(tokens: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(tokens), "<f4").astype(np.float64)


def check_records(
    records: Mapping[str, WeightsRecord], expected: Mapping[str, WeightsRecord], hints: Mapping[str, str]
) -> None:
    """Compare the backbones that were built with those that a USAE was trained with; those without a record pass.

    Weights of another hash whose tokens are nearly the same are let pass with a warning: half precision, say, or
    another classifier.

    Args:
        records: of the backbones that were built.
        expected: what the USAE keeps.
        hints: what to do about each.

    Raises:
        ValueError: for the first that is another one.
    """
    for name, record in records.items():
        if name not in expected:
            continue
        same, distance = record.sha256 == expected[name].sha256, expected[name].distance(record)
        if same and distance <= TOLERANCE:
            continue
        hashes = f"hash {record.sha256[:12]}..., trained with {expected[name].sha256[:12]}..."
        if not distance <= TOLERANCE:
            difference = "the weights are the same, but they are read differently" if same else hashes
            raise UsageError(
                f"{name} is not the backbone that this USAE was trained with ({difference}; tokens of the test picture "
                f"differ by {distance:.0%}): {hints[name]}"
            )
        warnings.warn(
            f"{name} has nearly the weights that this USAE was trained with, not the same ({hashes}; tokens of the "
            f"test picture differ by {distance:.1%}), as in another precision or with another classifier",
            SimilarWeightsWarning,
            stacklevel=3,
        )
