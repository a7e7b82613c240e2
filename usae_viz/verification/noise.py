"""The level of chance: what backbones make of pictures that nothing was optimized in."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from usae_train.model.usae import USAE
from usae_viz.verification.held_out import held_out_codes, held_out_probabilities
from usae_viz.verification.score import DEFAULT_THRESHOLDS
from usae_viz.verification.verdict import VerdictSettings

# One view each: two pictures of noise differ, two views of one hardly do. Of 48 of the demo (fourier) the codes of the
# concepts that fire there at all spread by 0.16 to 0.23 of their mean (median per backbone; a tenth of them by more
# than 0.34 to 0.72), so that the mean of 32 is right to 3 to 4% (6 to 13%); with two pictures, as before, to 16% (50%).
NOISE_PICTURES = 32
FIRST_SEED = 0xC4A2CE
NOISE_BATCH = 8  # canvases in memory

DrawStarts = Callable[[list[int]], Tensor]  # seeds -> canvases (n, 3, H, W) as a drawing starts
_noise_by_usae: WeakKeyDictionary[USAE, dict[Hashable, NoiseLevels]] = WeakKeyDictionary()


class NoiseLevels:
    """What each backbone makes of pictures of noise, drawn by seed, worked out when it is first asked for."""

    def __init__(self, draw: DrawStarts) -> None:
        self._draw = draw
        self._codes: dict[str, Tensor] = {}
        self._probabilities: dict[str, Tensor] = {}

    def code(self, usae: USAE, backbone: str, concept: int) -> float:
        """A concept's largest code, as in `Score.code`, mean over the pictures."""
        if backbone not in self._codes:
            self._codes[backbone] = self._mean(usae, lambda canvases: _largest_codes(usae, backbone, canvases))
        return self._codes[backbone][concept].item()

    def probability(self, usae: USAE, backbone: str, index: int) -> float:
        """A class's probability, mean over the pictures."""
        if backbone not in self._probabilities:
            self._probabilities[backbone] = self._mean(
                usae, lambda canvases: held_out_probabilities(usae, backbone, canvases, FIRST_SEED, n_views=1)[:, 0]
            )
        return self._probabilities[backbone][index].item()

    @torch.no_grad()
    def _mean(self, usae: USAE, evaluate: Callable[[Tensor], Tensor]) -> Tensor:
        device = usae.device
        seeds = [FIRST_SEED + number for number in range(NOISE_PICTURES)]
        batches = [seeds[first : first + NOISE_BATCH] for first in range(0, NOISE_PICTURES, NOISE_BATCH)]
        return torch.cat([evaluate(self._draw(batch).to(device)) for batch in batches]).mean(0).cpu()


@dataclass(frozen=True)
class ScoringConfig:
    """By what pictures are scored.

    Attributes:
        seed: the run's seed; the views are drawn from another one derived from it.
        noise: pictures that nothing was optimized in: the level of chance.
        thresholds: of the verdicts.
    """

    seed: int
    noise: NoiseLevels | None = None
    thresholds: VerdictSettings = DEFAULT_THRESHOLDS


def shared_noise(usae: USAE, start: Hashable, draw: DrawStarts) -> NoiseLevels:
    """The same noise for all that is drawn with one USAE: a run's objectives need not look at it again.

    What was seen through the USAE is forgotten with it, and when its weights change. `start` is what decides the
    pictures besides their seeds, by which `draw` makes them.
    """
    versions = tuple(weight._version for weight in usae.parameters())
    return _noise_by_usae.setdefault(usae, {}).setdefault((start, versions), NoiseLevels(draw))


def _largest_codes(usae: USAE, backbone: str, canvases: Tensor) -> Tensor:
    codes = held_out_codes(usae, backbone, canvases, FIRST_SEED, n_views=1)
    return codes.dense(usae.n_concepts)[:, 0].amax(1)
