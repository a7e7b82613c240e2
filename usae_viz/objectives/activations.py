"""What an objective is given: one backbone's view of a batch of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from usae_train.model.sparse import Codes
    from usae_train.model.usae import USAE


class Activations:
    """What one backbone makes of a batch of pictures, worked out when asked for.

    Attributes:
        backbone: the backbone's name.
        canvas: (batch, 3, H, W), 0..1, as it will be saved.
        views: (batch, view, 3, size, size), as the backbone was shown it.
        tokens: (batch, view, token, width), in the backbone's own units.
        grid: (rows, cols) of the tokens.
        shared: whether other backbones look at these pictures too.
        reference: the same of a given picture under the same draws of the augmentation; None without one.
        unnaturalness: (batch,), how much farther than a photograph's the features are from what the backbone's batch
            norms keep (`usae_train.backbones.feature_statistics`); None where it is not asked for.
    """

    def __init__(
        self,
        usae: USAE,
        backbone: str,
        canvas: Tensor,
        views: Tensor,
        tokens: Tensor,
        reference: Activations | None = None,
        shared: bool = False,
        logits: Tensor | None = None,
    ) -> None:
        self.usae, self.backbone = usae, backbone
        self.canvas, self.views, self.tokens = canvas, views, tokens
        self.grid = usae.grid or (1, tokens.shape[-2])
        self.reference, self.shared = reference, shared
        self.unnaturalness: Tensor | None = None
        self._pre_codes: Tensor | None = None
        self._logits = logits

    @property
    def pre_codes(self) -> Tensor:
        """(batch, view, token, n_concepts), before ReLU and TopK."""
        if self._pre_codes is None:
            self._pre_codes = self.usae.pre_codes(self.backbone, self.tokens)
        return self._pre_codes

    @property
    def codes(self) -> Codes:
        """Codes of (batch, view, token, k) values and indices."""
        return self.usae.sparsify(self.backbone, self.pre_codes)

    @property
    def logits(self) -> Tensor:
        """(batch, view, class): what the backbone's own classifier says; needs `classes` in its spec.

        It comes with the tokens for objectives that say that they ask for it (`Objective.classifies`, as `Logit`
        does); for others the network runs a second time.

        Raises:
            ValueError: for a backbone without its classifier.
        """
        if self._logits is None:
            logits = self.usae.backbones[self.backbone].logits(self.views.flatten(0, 1))
            self._logits = logits.float().unflatten(0, self.views.shape[:2])
        return self._logits

    def pre_code(self, concept: int) -> Tensor:
        """One concept's pre-code (batch, view, token): one dot product per token, without the other concepts'."""
        if self._pre_codes is not None:
            return self._pre_codes[..., concept]
        return self.usae.readout(self.backbone, [concept])(self.tokens)[..., 0]

    def of_rows(self, rows: list[int]) -> Activations:
        """The same of some of the pictures."""
        if rows == list(range(len(self.canvas))):
            return self
        from usae_train.runtime.transfers import index_of

        places = index_of(rows, self.canvas.device)
        reference = self.reference.of_rows(rows) if self.reference is not None else None
        logits = self._logits[places] if self._logits is not None else None
        return Activations(
            self.usae,
            self.backbone,
            self.canvas[places],
            self.views[places],
            self.tokens[places],
            reference,
            self.shared,
            logits,
        )
