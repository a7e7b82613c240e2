"""Concepts: the objective that the project is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from usae_train.files.whole_numbers import at_least
from usae_train.runtime.errors import UsageError
from usae_viz.objectives.activations import Activations
from usae_viz.objectives.algebra import Objective
from usae_viz.objectives.custom_score import ScoreFunction

if TYPE_CHECKING:
    from torch import Tensor

Pool = Literal["auto", "mean", "max", "top", "centre"]
ConceptValue = Literal["pre_code", "code"]
# Of the tokens, for pool="top". The demo's green, purple, solid, yellow and cyan, drawn in `shared` mode (96 steps,
# seed 0), pass the 99.9th percentile of natural scenes in all three backbones with a half or a quarter of the tokens;
# with three quarters green and solid do not, with all of them none does. A quarter leaves more to other things.
TOP_SHARE = 0.5


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


def unbound(kind: str, name: str) -> ScoreFunction:
    """The score of a concept or class by its name, before it has a number: an error."""

    def scored(acts: Activations) -> Tensor:  # noqa: ARG001
        raise UsageError(f"{kind} {name!r} has no number yet: `maximize` looks it up, or give a number")

    return scored


def check_backbone(name: Any) -> None:
    """Raise a ValueError for what is not a backbone's name."""
    if not isinstance(name, str):
        raise UsageError(f"backbone {name!r}: expected its name, such as 'dino'")


def check_choice(value: Any, known: tuple[str, ...], what: str) -> None:
    """Raise a ValueError for a value that is none of those that are known."""
    if value not in known:
        raise UsageError(f"{what}{value!r}: expected one of {', '.join(known)}")


def format_call(kind: str, *values: Any, **settings: tuple[Any, Any]) -> str:
    """How an objective is written: settings are (value, default), and left out at their default."""
    parts = [repr(value) for value in values]
    parts += [f"{key}={value!r}" for key, (value, default) in settings.items() if value != default]
    return f"{kind}({', '.join(parts)})"


def pool_tokens(values: Tensor, pool: Pool, grid: tuple[int, int]) -> Tensor:
    """(batch, view, token) -> (batch, view); `auto` is the mean."""
    if pool in ("auto", "mean"):
        return values.mean(-1)
    if pool == "max":
        return values.amax(-1)
    if pool == "top":
        return values.topk(max(1, round(TOP_SHARE * values.shape[-1])), dim=-1).values.mean(-1)
    rows, cols = grid
    middle = values.unflatten(-1, grid)[..., (rows - 1) // 2 : rows // 2 + 1, (cols - 1) // 2 : cols // 2 + 1]
    pooled: Tensor = middle.mean((-1, -2))
    return pooled
