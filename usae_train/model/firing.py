"""What fires where: sums over sparse codes, a batch of pictures at a time, never tokens x concepts as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from usae_train.model.sparse import Codes
from usae_train.model.statistics import FIRING_THRESHOLD, LEVELS, TOP_IMAGES, Statistics, images_needed
from usae_train.model.top_maps import TopCodes
from usae_train.model.usae import USAE
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_train.tokens.paired import PairedTokens

FLOAT16_MAX = torch.finfo(torch.float16).max
ENCODING_BATCH_SIZE = 8  # pictures encoded at a time: pre-codes of 8 x 196 tokens x 6144 concepts are 39 MB


class FiringTally:
    """Fires, co-fires, mean codes, the largest codes of every picture, and each concept's top pictures.

    The largest codes are kept in half precision (a relative error of at most 0.0005): 5,000 pictures, 3 backbones and
    6144 concepts take 184 MB. The maximum and the top pictures are exact.

    Args:
        names: the backbones, in the USAE's order.
        n_concepts: size of the concept space.
        lengths: (backbones, concepts), the length of what a code of 1 adds to a token (`USAE.lengths`); 1 by default.
    """

    def __init__(self, names: Sequence[str], n_concepts: int, lengths: Tensor | None = None) -> None:
        self.names, self.n_concepts = list(names), n_concepts
        shape = len(names), n_concepts
        self.lengths = torch.ones(shape) if lengths is None else lengths.cpu()
        self.fires = torch.zeros(shape, dtype=torch.long)
        self.co_fires = torch.zeros(n_concepts, dtype=torch.long)
        self.sums = torch.zeros(shape, dtype=torch.float64)
        self.counts = torch.zeros(2, dtype=torch.long)  # pictures, tokens
        self.top_values = torch.zeros(*shape, TOP_IMAGES)
        self.top_images = torch.full((*shape, TOP_IMAGES), -1)
        self.top_tokens = torch.zeros(*shape, TOP_IMAGES, dtype=torch.int32)
        self.largest: list[Tensor] = []  # (pictures, backbones, concepts) each, float16

    def add(self, numbers: Tensor, codes: Mapping[str, Codes]) -> None:
        """Add some pictures, few at a time: this takes a byte per token and concept.

        Args:
            numbers: (pictures,) their numbers in the source.
            codes: {backbone: codes (pictures, tokens, k)}.
        """
        largest, places = [], []
        for row, name in enumerate(self.names):
            values, indices = codes[name].values.cpu(), codes[name].indices.cpu()
            fired = values > FIRING_THRESHOLD
            self.fires[row] += torch.bincount(indices[fired], minlength=self.n_concepts)
            self.sums[row].index_add_(0, indices.flatten(), values.flatten().double())
            of_one, place = _peak_codes(values, indices, self.n_concepts)
            largest.append(of_one)
            places.append(place)
        self.co_fires += self._together(codes)
        stacked = torch.stack(largest)  # (backbones, pictures, concepts)
        self.largest.append(stacked.clamp_max(FLOAT16_MAX).half().transpose(0, 1).contiguous())
        self._keep_top(stacked.mT, numbers.expand(*stacked.mT.shape), torch.stack(places).mT)
        n_tokens = codes[self.names[0]].values.shape[1]
        self.counts += torch.tensor([len(numbers), len(numbers) * n_tokens])

    def statistics(self) -> Statistics:
        """The statistics so far; quantiles for which there are too few pictures are NaN."""
        top = min(TOP_IMAGES, int(self.counts[0]))
        energy = (self.sums / self.counts[1] * self.lengths).square().float()
        return Statistics(
            fires=self.fires,
            co_fires=self.co_fires,
            energy=energy,
            quantiles=self._quantiles(),
            top_images=self.top_images[..., :top].contiguous(),
            top_tokens=self.top_tokens[..., :top].contiguous(),
            counts=self.counts,
        )

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        return {key: value for key, value in vars(self).items() if key not in ("names", "n_concepts", "lengths")}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Add another's sums to these."""
        for key in ("fires", "co_fires", "sums", "counts"):
            setattr(self, key, getattr(self, key) + state[key])
        self.largest.extend(state["largest"])
        self._keep_top(state["top_values"], state["top_images"], state["top_tokens"])

    def _together(self, codes: Mapping[str, Codes]) -> Tensor:
        """(concepts,): tokens in which a concept fires in every backbone."""
        tokens = codes[self.names[0]].values.shape[:-1].numel()
        votes = torch.zeros(tokens, self.n_concepts, dtype=torch.uint8)
        for name in self.names:
            fired = (codes[name].values > FIRING_THRESHOLD).to("cpu", torch.uint8).flatten(0, -2)
            votes.scatter_add_(1, codes[name].indices.cpu().flatten(0, -2), fired)
        # what fires everywhere fires in the last backbone too: only its indices need to be checked
        places = codes[self.names[-1]].indices.cpu().flatten(0, -2)
        return torch.bincount(places[votes.gather(1, places) == len(self.names)], minlength=self.n_concepts)

    def _keep_top(self, values: Tensor, images: Tensor, tokens: Tensor) -> None:
        """Merge new values (backbones, concepts, pictures) into the top pictures.

        Among equals the picture with the smaller number comes first, however the pictures were divided.
        """
        images = torch.where(values > 0, images, -1)
        all_values = torch.cat([self.top_values, values], -1)
        all_images = torch.cat([self.top_images, images], -1)
        all_tokens = torch.cat([self.top_tokens, tokens], -1)
        # the largest of both by value, then the few that are left by number as well
        candidates = all_values.topk(min(2 * TOP_IMAGES, all_values.shape[-1]), dim=-1).indices
        all_values, all_images, all_tokens = (t.gather(-1, candidates) for t in (all_values, all_images, all_tokens))
        by_number = all_images.argsort(dim=-1)
        order = by_number.gather(-1, all_values.gather(-1, by_number).argsort(dim=-1, descending=True, stable=True))
        order = order[..., :TOP_IMAGES]
        self.top_values, self.top_images, self.top_tokens = (
            t.gather(-1, order) for t in (all_values, all_images, all_tokens)
        )

    def _quantiles(self, chunk: int = 512) -> Tensor:
        """(backbones, concepts, levels), linear between pictures as numpy's default."""
        n_images = int(self.counts[0])
        quantiles = torch.full((len(self.names), self.n_concepts, len(LEVELS)), torch.nan)
        measurable = torch.tensor([n_images >= images_needed(level) for level in LEVELS])
        places = torch.tensor(LEVELS, dtype=torch.float64)[measurable] * (n_images - 1)
        weights = (places % 1).float()
        for row in range(len(self.names)):
            for first in range(0, self.n_concepts, chunk):
                peaks = torch.cat([block[:, row, first : first + chunk] for block in self.largest]).float()
                ordered = peaks.sort(dim=0).values
                low, high = ordered[places.floor().long()], ordered[places.ceil().long()]
                quantiles[row, first : first + chunk][:, measurable] = torch.lerp(low, high, weights[:, None]).T
        quantiles[..., -1] = self.top_values[..., 0]
        return quantiles


@with_torch_defaults
@torch.no_grad()
def measure(
    usae: USAE, paired: PairedTokens | Iterable[PairedTokens], chunk: int = ENCODING_BATCH_SIZE, input_size: int = 0
) -> Statistics:
    """Measure a USAE's statistics on paired tokens, a chunk of pictures at a time.

    A USAE with backbones also keeps where concepts fire in their top pictures (`usae.maps`).

    Args:
        usae: the model.
        paired: tokens {backbone: (image, token, width)} of its backbones, maybe of others too, and the pictures'
            numbers; or an iterable of these.
        chunk: pictures per step.
        input_size: px at which the pictures were read; 0 where that is not known.
    """
    device = usae.device
    tally, top = FiringTally(usae.names, usae.n_concepts, usae.lengths), TopCodes(usae.names)
    for part in [paired] if isinstance(paired, PairedTokens) else paired:
        for batch in part.batches(chunk):
            codes = {name: usae.encode(name, batch.tokens[name].to(device, torch.float32)) for name in usae.names}
            tally.add(batch.numbers, codes)
            top.add(batch.numbers, codes, tally.top_images)
    statistics = tally.statistics()
    usae.maps = (
        top.maps(statistics.top_images, statistics.quantiles[..., -1], input_size) if usae.specs and usae.grid else None
    )
    return statistics


def dead_counts(usae: USAE, statistics: Statistics) -> dict[str, int]:
    """{backbone: how many of its concepts never fire}; those private to others are not counted."""
    never = zip(usae.private.counts().items(), (statistics.fires == 0).sum(1).tolist(), strict=True)
    return {name: silent - (usae.n_concepts - count) for (name, count), silent in never}


def _peak_codes(values: Tensor, indices: Tensor, n_concepts: int) -> tuple[Tensor, Tensor]:
    """Of codes (pictures, tokens, k): each picture's largest code of every concept, and at which token it is.

    Returns:
        Both (pictures, concepts).
    """
    n_images, n_tokens, k = values.shape
    flat, concepts = values.flatten(1), indices.flatten(1)
    largest = torch.zeros(n_images, n_concepts).scatter_reduce_(1, concepts, flat, "amax")
    token = torch.arange(n_tokens).repeat_interleave(k).expand(n_images, -1)
    token = torch.where(flat == largest.gather(1, concepts), token, n_tokens)  # the first of those that reach it
    place = torch.full((n_images, n_concepts), n_tokens).scatter_reduce_(1, concepts, token, "amin")
    return largest, torch.where(largest > 0, place, 0).int()
