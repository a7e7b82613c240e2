"""Everything that one pass over pictures adds up for an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from usae_train.evaluation.answers import Answers
from usae_train.evaluation.ceiling import Ceiling
from usae_train.evaluation.metrics import Reconstruction
from usae_train.evaluation.picture_embeddings import PictureEmbeddings
from usae_train.evaluation.posthoc import PostHoc
from usae_train.model.firing import ENCODING_BATCH_SIZE, FiringTally
from usae_train.model.sparse import Codes, joined_codes, sparse_decode
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.tokens.paired import PairedTokens


class Measures:
    """Sums over paired tokens. With independent SAEs the pictures come in two halves, otherwise in one.

    Args:
        usae: what is measured.
        independent: {backbone: its own SAE}, for the post-hoc baseline.
        keep_codes: keep every picture's codes, where the truth is known.
        answers: sums over classifiers' answers, where they are used; needs the pictures themselves, as `pictures` does.
        pictures: what classes and a judge need of every picture, where there are some.
    """

    def __init__(
        self,
        usae: USAE,
        independent: Mapping[str, USAE] | None = None,
        keep_codes: bool = False,
        answers: Answers | None = None,
        pictures: PictureEmbeddings | None = None,
    ) -> None:
        self.usae = usae
        self.halves = 2 if independent else 1
        self.firing = FiringTally(usae.names, usae.n_concepts, usae.lengths)
        self.reconstruction = [Reconstruction(usae.names, usae.names) for _ in range(self.halves)]
        self.posthoc = PostHoc(independent) if independent else None
        self.ceiling = Ceiling({name: usae.scale(name).mean for name in usae.names}, usae.widths)
        self.stored_codes: list[dict[str, Tensor]] | None = [] if keep_codes else None
        self.answers, self.pictures = answers, pictures

    @property
    def of_pictures(self) -> bool:
        """Whether it needs the pictures themselves, not only their tokens."""
        return self.answers is not None or self.pictures is not None

    def shares(self, n_images: int) -> list[range]:
        """Which pictures make up each half: every second one, since the order of a folder is not random."""
        return [range(half, n_images, self.halves) for half in range(self.halves)]

    @torch.no_grad()
    def add(self, paired: PairedTokens, half: int) -> None:
        """Take in some pictures of a half.

        Raises:
            ValueError: for tokens that are not finite.
        """
        device = self.usae.device
        for batch in paired.batches(ENCODING_BATCH_SIZE):
            tokens = {name: values.to(device, torch.float32) for name, values in batch.tokens.items()}
            numbers = batch.numbers
            if wrong := [name for name, values in tokens.items() if not values.isfinite().all()]:
                raise UsageError(
                    f"{', '.join(wrong)}: some tokens of the pictures {numbers.min()} to {numbers.max()} are NaN or "
                    "infinite; check the backbone's weights"
                )
            codes = {name: self.usae.encode(name, values) for name, values in tokens.items()}
            self.firing.add(numbers, codes)
            if len(tokens) > 1:
                self.ceiling.add(numbers, tokens)
            flat = {name: values.flatten(0, 1) for name, values in tokens.items()}
            reconstruct(self.usae, flat, codes, self.reconstruction[half])
            if self.posthoc is not None:
                self.posthoc.add(flat, matching=half == 0)
            if self.stored_codes is not None:
                self.stored_codes.append({"numbers": numbers, **_codes_as_tensors(codes)})
            if self.of_pictures:
                assert batch.canvases is not None
                self._add_pictures(numbers, batch.canvases, tokens)

    def _add_pictures(self, numbers: Tensor, canvases: Tensor, tokens: Mapping[str, Tensor]) -> None:
        if self.answers is not None:
            self.answers.add(numbers, canvases, tokens)
        if self.pictures is not None:
            self.pictures.add(numbers, canvases)

    def compute_sums(self, paired: PairedTokens, half: int) -> list[dict[str, Any]] | PairedTokens:
        """What `add` would add, computed in another process for `add_sums`.

        States of a few pictures each: adding them in order gives the same bits as `add`. The tables of independent SAEs
        are too large to pass between processes; for them the tokens are passed.
        """
        if self.posthoc is not None:
            return paired
        states = []
        for batch in paired.batches(ENCODING_BATCH_SIZE):
            sums = Measures(
                self.usae,
                keep_codes=self.stored_codes is not None,
                answers=None if self.answers is None else self.answers.fresh(),
                pictures=None if self.pictures is None else self.pictures.fresh(),
            )
            sums.add(batch, half)
            states.append(sums.state_dict())
        return states

    def add_sums(self, computed: list[dict[str, Any]] | PairedTokens, half: int) -> None:
        """Add what `compute_sums` returned."""
        if isinstance(computed, PairedTokens):
            self.add(computed, half)
            return
        for state in computed:
            self.merge(state)

    def total(self) -> Reconstruction:
        """The reconstruction of all pictures."""
        every = Reconstruction(self.usae.names, self.usae.names)
        for half in self.reconstruction:
            every.merge(half.state_dict())
        return every

    def peaks(self) -> Tensor:
        """(pictures, backbones, concepts), float16: each picture's largest codes, in the order of `pictures`."""
        return torch.cat(self.firing.largest)

    def codes(self) -> tuple[Tensor, dict[str, Codes]]:
        """The pictures' numbers, and their codes {backbone: (pictures * tokens, k) twice}."""
        assert self.stored_codes is not None
        codes = {}
        for name in self.usae.names:
            joined = joined_codes(
                [Codes(part[f"{name}.values"], part[f"{name}.indices"].long()) for part in self.stored_codes]
            )
            codes[name] = Codes(joined.values.flatten(0, 1), joined.indices.flatten(0, 1))
        return torch.cat([part["numbers"] for part in self.stored_codes]), codes

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        return {
            "firing": self.firing.state_dict(),
            "kept": self.stored_codes,
            "reconstruction": [half.state_dict() for half in self.reconstruction],
            "posthoc": self.posthoc.state_dict() if self.posthoc else None,
            "ceiling": self.ceiling.state_dict(),
            "answers": None if self.answers is None else self.answers.state_dict(),
            "seen": None if self.pictures is None else self.pictures.state_dict(),
        }

    def merge(self, state: Mapping[str, Any]) -> None:
        """Add another's sums to these."""
        self.firing.merge(state["firing"])
        for half, other in zip(self.reconstruction, state["reconstruction"], strict=True):
            half.merge(other)
        self.ceiling.merge(state["ceiling"])
        if self.posthoc is not None:
            self.posthoc.merge(state["posthoc"])
        if self.stored_codes is not None:
            self.stored_codes.extend(state["kept"])
        if self.answers is not None:
            self.answers.merge(state["answers"])
        if self.pictures is not None:
            self.pictures.merge(state["seen"])


def reconstruct(usae: USAE, tokens: Mapping[str, Tensor], codes: Mapping[str, Codes], into: Reconstruction) -> None:
    """Decode every backbone's codes with every dictionary.

    Args:
        usae: the model.
        tokens: {backbone: (n, width)}, raw.
        codes: {backbone: codes of the same tokens}.
        into: where the errors are added up.
    """
    for target, expected in tokens.items():
        into.add_tokens(target, expected)
        rows, offset, scale = usae.rows(target), usae.decoder(target).offset, usae.scale(target)
        for source, coded in codes.items():
            # usae.decode would normalize the atoms again for every source
            into.add_decoded(
                source, target, expected, scale.inverse(sparse_decode(coded, rows) + offset).view_as(expected)
            )


def reconstruction_of(usae: USAE, batches: Iterable[Mapping[str, Tensor]]) -> Reconstruction:
    """Every backbone's codes of raw tokens {backbone: (n, width)}, batch after batch, decoded by every dictionary."""
    sums, device = Reconstruction(usae.names, usae.names), usae.device
    for batch in batches:
        tokens = {name: values.to(device, torch.float32) for name, values in batch.items()}
        reconstruct(usae, tokens, {name: usae.encode(name, values) for name, values in tokens.items()}, sums)
    return sums


def _codes_as_tensors(codes: Mapping[str, Codes]) -> dict[str, Tensor]:
    values = {f"{name}.values": coded.values.cpu() for name, coded in codes.items()}
    return {**values, **{f"{name}.indices": coded.indices.to("cpu", torch.int32) for name, coded in codes.items()}}
