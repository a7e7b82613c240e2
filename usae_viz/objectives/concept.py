"""Concepts: the objective that the project is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from usae_train.files.whole_numbers import at_least
from usae_viz.objectives.activations import Activations
from usae_viz.objectives.algebra import Objective
from usae_viz.objectives.arguments import check_backbone, check_choice, format_call, unbound
from usae_viz.objectives.pooling import Pool, pool_tokens

if TYPE_CHECKING:
    from torch import Tensor

ConceptValue = Literal["pre_code", "code"]


@dataclass(frozen=True)
class _ConceptScore:
    concept: int
    pool: Pool
    of: ConceptValue
    backbone: str | None

    def __call__(self, acts: Activations) -> Tensor:
        if self.backbone not in (None, acts.backbone):
            return acts.tokens.new_zeros(len(acts.tokens))
        values = acts.pre_code(self.concept) if self.of == "pre_code" else acts.codes.of(self.concept)
        pool = self.pool if self.pool != "auto" else "top" if acts.shared else "mean"
        return pool_tokens(values, pool, acts.grid).mean(1)


class Concept(Objective):
    """One concept's strength over tokens and views.

    Differences of concepts draw what one has and the other lacks; differences of backbones (in the modes with one
    picture, `shared`) what one backbone sees and the other does not.

    Args:
        k: the concept's index; or its name, such as `red` or `eyes`: looked up in the USAE that it is drawn of.
        pool: over an image's tokens: `mean`, `max`, `top` (mean of the strongest half) or `centre`. By default `mean`
            in a picture for one backbone, and `top` in one that several share: they need not agree everywhere.
        of: `pre_code` (has a gradient everywhere) or `code` (zero where TopK drops the concept).
        backbone: count this backbone only; all by default.

    Raises:
        ValueError: for an unknown pool or `of`, or a concept below 0.

    Example:
        >>> Concept(412) - 0.5 * Concept(7)
        Concept(412) - 0.5 * Concept(7)
        >>> Concept("red") - 0.5 * Concept(7)  # by name, or by what it follows
        Concept('red') - 0.5 * Concept(7)
        >>> Concept(412, backbone="dino") - Concept(412, backbone="siglip")  # in dino, not in siglip
        Concept(412, backbone='dino') - Concept(412, backbone='siglip')
        >>> import usae_train as ut, usae_viz as uv
        >>> result = uv.maximize(ut.load("demo"), Concept(3, pool="top"), steps=2, views=1)
        >>> result.images["dino"].shape
        torch.Size([3, 219, 219])
    """

    def __init__(
        self, k: int | str, pool: Pool = "auto", of: ConceptValue = "pre_code", backbone: str | None = None
    ) -> None:
        if not isinstance(k, str):
            k = at_least(0, k, "concept")
        check_choice(pool, get_args(Pool), "pool ")
        check_choice(of, get_args(ConceptValue), "of=")
        if backbone is not None:
            check_backbone(backbone)
        name = format_call("Concept", k, pool=(pool, "auto"), of=(of, "pre_code"), backbone=(backbone, None))
        backbones = None if backbone is None else [backbone]
        if isinstance(k, str):
            concept_name = k
            super().__init__(
                unbound("concept", concept_name),
                name,
                (),
                backbones,
                bind=lambda number: Concept(number(concept_name), pool, of, backbone),
            )
        else:
            super().__init__(_ConceptScore(k, pool, of, backbone), name, [k], backbones)
