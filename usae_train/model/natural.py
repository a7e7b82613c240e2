"""Available natural pictures, and where each concept is strongest in them: those of the statistics, or a user's."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from usae_train.images.sources import ImageSource
from usae_train.model.firing import ENCODING_BATCH_SIZE, FiringTally
from usae_train.model.sparse import Codes
from usae_train.model.top_maps import TopCodes, TopMaps
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.progress import CountCallback
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_train.runtime.warning_kinds import FormerNameWarning
from usae_train.tokens.paired import TokenSource, stream_readable


@dataclass(frozen=True)
class NaturalPictures:
    """Pictures, and the strongest places of every concept in them."""

    source: ImageSource
    images: Tensor  # (backbones, concepts, top) numbers of the pictures with the largest codes; -1 for none
    tokens: Tensor  # (backbones, concepts, top) which token of the picture
    largest: Tensor  # (backbones, concepts) the largest code
    maps: TopMaps | None = None  # where concepts fire in them, if that is known

    def strongest(self, row: int, concept: int) -> list[tuple[int, int]]:
        """The pictures in which a concept is strongest for the backbone of a row: (number, token), best first."""
        places = zip(self.images[row, concept].tolist(), self.tokens[row, concept].tolist(), strict=True)
        return [(number, token) for number, token in places if 0 <= number < len(self.source)]


def natural_pictures(usae: USAE) -> tuple[NaturalPictures | None, str]:
    """The pictures to show top-activating patches of: `usae.natural` if it is set, or those of its statistics.

    Returns:
        The pictures and an empty text; or None and a sentence that says what is missing.
    """
    if usae.natural is not None:
        return usae.natural, ""
    if usae.statistics is None:
        return None, "This USAE has no statistics, so it knows no top-activating patches; --images takes your own."
    if usae.grid is None or not usae.specs:
        return None, "This USAE was fitted on bare activations: there are no top-activating patches to show."
    if usae.measured_on.name is None:
        return None, "The pictures that this USAE was measured on are not shipped with it; --images takes your own."
    try:
        source = usae.measured_on.reopened()
        if source is None:
            changed = f"The pictures of {usae.measured_on.name} have changed since the statistics were measured"
            return None, f"{changed}: none is shown; --images takes your own."
    except (UsageError, OSError) as error:
        return None, f"No top-activating patches: {error}; --images takes your own."
    return _of_statistics(usae, source), ""


@with_torch_defaults
@torch.no_grad()
def find_strongest(
    usae: USAE,
    source: ImageSource,
    progress: CountCallback = lambda done, total: None,
    failure: Callable[[str], None] = lambda why: None,
) -> NaturalPictures:
    """Find where each concept is strongest in pictures, by encoding all of them.

    The pictures of the statistics, wherever they are, are not encoded again.

    Args:
        usae: a USAE with backbones.
        source: the pictures.
        progress: called after each batch with pictures done, and in all.
        failure: called with each picture that cannot be read, and why.

    Raises:
        ValueError: when none can be read, or for a USAE without backbones.
    """
    if usae.statistics is not None and usae.measured_on.matches(source):
        return _of_statistics(usae, source)
    tally, top = FiringTally(usae.names, usae.n_concepts), TopCodes(usae.names)
    for numbers, codes in encode_pictures(usae, source, progress, failure):
        tally.add(numbers, codes)
        top.add(numbers, codes, tally.top_images)
    statistics = tally.statistics()
    largest = statistics.quantiles[..., -1]
    maps = top.maps(statistics.top_images, largest, usae.input_size)
    return NaturalPictures(source, statistics.top_images, statistics.top_tokens, largest, maps)


def encode_pictures(
    usae: USAE,
    source: ImageSource,
    progress: CountCallback = lambda done, total: None,
    failure: Callable[[str], None] = lambda why: None,
) -> Iterator[tuple[Tensor, dict[str, Codes]]]:
    """All pictures through every backbone, a batch at a time.

    Yields:
        Their numbers (pictures,), and {backbone: codes, of values (pictures, tokens, k)}.

    Raises:
        UsageError: at the end, when none could be read; at once, for a USAE without backbones.
    """
    backbones = usae.backbones
    assert usae.grid is not None
    for paired in stream_readable(TokenSource(backbones, source, usae.grid), progress=progress, failure=failure):
        yield paired.numbers, {name: usae.encode(name, tokens) for name, tokens in paired.tokens.items()}


def peak_codes(
    usae: USAE,
    source: ImageSource,
    progress: CountCallback = lambda done, total: None,
    failure: Callable[[str], None] = lambda why: None,
    readers: int = 0,
) -> tuple[Tensor, Tensor]:
    """The numbers (pictures,) of pictures that can be read, and their largest codes (pictures, backbones, concepts)."""
    backbones, tally, numbers = usae.backbones, FiringTally(usae.names, usae.n_concepts), []
    assert usae.grid is not None
    for paired in stream_readable(
        TokenSource(backbones, source, usae.grid, readers=readers), progress=progress, failure=failure
    ):
        for batch in paired.batches(ENCODING_BATCH_SIZE):
            tally.add(batch.numbers, {name: usae.encode(name, tokens) for name, tokens in batch.tokens.items()})
        numbers.append(paired.numbers)
    return torch.cat(numbers), torch.cat(tally.largest)


def _of_statistics(usae: USAE, source: ImageSource) -> NaturalPictures:
    statistics = usae.statistics
    assert statistics is not None
    largest = statistics.quantiles[..., -1]
    return NaturalPictures(source, statistics.top_images, statistics.top_tokens, largest, usae.maps)


def __getattr__(name: str) -> Any:
    if name != "look_through":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn("look_through is called find_strongest now; write find_strongest", FormerNameWarning, 2)
    return find_strongest
