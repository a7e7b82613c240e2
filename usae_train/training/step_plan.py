"""Who takes part in a step of a training, and which terms its loss has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.training.noise import TokenNoise
from usae_train.training.settings import TrainingRecipe


@dataclass(frozen=True)
class StepPlan:
    """What is decided before a step computes anything.

    Attributes:
        recipe: which terms there are.
        encoding: the backbones that encode; each is decoded by all.
        stepping: the backbones that the step may change. The codes of others are decoded to these alone: what the
            others decode of each other changes nothing.
        fractions: the shares of the concepts that must explain the tokens alone.
        noise: what is added to the tokens that changing encoders see; not to those to be decoded.
        exact: every dense product that a gradient passes through in float32, the gradient's as well.
        ranks: who has the other parts of the batch.
    """

    recipe: TrainingRecipe
    encoding: Sequence[str]
    stepping: Sequence[str]
    fractions: Sequence[float]
    noise: TokenNoise | None = None
    exact: bool = False
    ranks: DistributedContext = SINGLE_PROCESS

    @classmethod
    def of_all(cls, recipe: TrainingRecipe, encoding: Sequence[str]) -> StepPlan:
        """A step of one process that may change all that encode, with the recipe's own fractions and without noise."""
        return cls(recipe, encoding, encoding, recipe.matryoshka_fractions)
