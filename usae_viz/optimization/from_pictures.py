"""`accentuate` and `invert`: drawings that begin at a picture, or are to have its codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from usae_train.model.usae import USAE
from usae_train.runtime.warning_kinds import former_arguments
from usae_viz.objectives import Objective, SameCodes
from usae_viz.objectives.closeness import CLOSENESS, with_closeness
from usae_viz.optimization.maximize import maximize
from usae_viz.optimization.result import Result
from usae_viz.settings import MaximizeOptions

if TYPE_CHECKING:
    from usae_train.images.picture_input import Picture


def accentuate(
    usae: USAE,
    objective: Objective,
    picture: Picture,
    *,
    closeness: float = CLOSENESS,
    quiet: bool = False,
    **settings: Unpack[MaximizeOptions],
) -> Result:
    """Raise an objective in a given picture while it stays what it was in the backbones' latent space.

    Feature accentuation (Hamblin et al. 2024, arXiv 2402.10039).

    Args:
        usae: a USAE with backbones.
        objective: what to raise.
        picture: as `start` of `maximize`.
        closeness: weight of `Closeness`; 0 lets the picture go where it will.
        quiet: as for `maximize`.
        settings: as for `maximize`.

    Returns:
        As `maximize`.

    Raises:
        ValueError: as `maximize`; for a closeness that is negative or not finite.
    """
    return maximize(usae, with_closeness(objective, closeness), start=picture, quiet=quiet, **settings)


@former_arguments(backbones="match")
def invert(
    usae: USAE,
    picture: Picture,
    *,
    match: str | Sequence[str] = (),
    quiet: bool = False,
    **settings: Unpack[MaximizeOptions],
) -> Result:
    """Draw, from noise, a picture with the codes of a given one: what the concept space keeps of it.

    Args:
        usae: a USAE with backbones.
        picture: as `start` of `maximize`.
        match: backbones whose codes alone are matched, or one; all by default.
        quiet: as for `maximize`.
        settings: as for `maximize`.
    """
    return maximize(usae, SameCodes(match), reference=picture, quiet=quiet, **settings)
