"""What is to be drawn, checked by a USAE's names and numbers alone. No torch: commands ask before they load it."""

from __future__ import annotations

from collections.abc import Sequence

from usae_train.model.outline import Described
from usae_train.runtime.errors import UsageError
from usae_viz.concepts.labels import Label
from usae_viz.concepts.naming import known_concept
from usae_viz.concepts.parsing import check_concepts
from usae_viz.objectives import Objective, parse_objective
from usae_viz.own_code.part import OwnPart
from usae_viz.settings import MaximizeSettings
from usae_viz.verification.known_classes import check_class
from usae_viz.views.presets import AUGMENTATION, PRESETS


def check_objectives(usae: Described, objectives: Sequence[Objective]) -> None:
    """Nothing.

    Raises:
        ValueError: for one of a concept, backbone or class that the USAE does not have.
    """
    for objective in objectives:
        for concept in objective.concepts:
            known_concept(usae, concept)
        for backbone in objective.backbones or ():
            usae.known_name(backbone)
        for backbone, index in objective.classes:
            check_class(usae, backbone, index)


def check_written(usae: Described, text: str, labels: Sequence[Label]) -> None:
    """Nothing; of an objective's text as much as needs no statistics.

    Args:
        usae: or its outline.
        text: as `parse_objective` reads it.
        labels: names of concepts.

    Raises:
        ValueError: for a text that is no objective, or one of what the USAE does not have.
    """

    def known(called: str) -> int:
        check_concepts(usae, called, labels)
        return 0  # which of the concepts it is, is not asked here

    check_objectives(usae, [parse_objective(text).bound(known)])


def check_clashes(settings: MaximizeSettings) -> None:
    """Nothing.

    Raises:
        ValueError: for a setting that another one leaves without meaning.
    """
    own = settings.parameterization if isinstance(settings.parameterization, OwnPart) else None
    if own is not None and settings.mode == "coupled":
        raise UsageError(
            f"parameterization {own.text!r} cannot be drawn coupled: that asks for a latent of which a part is common; "
            "take the mode per-model or shared"
        )
    for name, whose in (("spectrum", "maco"), ("decay", "fourier"), ("contrast", "fourier")):
        if getattr(settings, name) is None:
            continue
        if own is not None:
            raise UsageError(f"{name} is of a built-in parameterization, not of {own.text!r}")
        if settings.parameterization != whose:
            what = f"a {name}" if name == "spectrum" else name
            raise UsageError(
                f"{what} is for the parameterization {whose}, not for {settings.parameterization}; leave it out"
            )
    if not is_augmented(settings):
        _check_without_views(settings)


def is_augmented(settings: MaximizeSettings) -> bool:
    """Whether views are drawn by the augmentation, alone or among transforms of somebody's own."""
    return not settings.transforms or AUGMENTATION in settings.transforms


def check_own_start(settings: MaximizeSettings, given: bool) -> None:
    """Nothing.

    Args:
        settings: of a drawing.
        given: whether it starts from a picture that they do not name.

    Raises:
        ValueError: for a spectrum or contrast beside a picture that is started from.
    """
    for own in ("spectrum", "contrast"):
        if (given or settings.start is not None) and getattr(settings, own) is not None:
            raise UsageError(f"a picture that is started from keeps its own {own}; leave --{own} or --start out")


def _check_without_views(settings: MaximizeSettings) -> None:
    for name, asked in (
        ("augmentation", settings.augmentation.model_copy(update={"shift": None}) != PRESETS["default"]),
        ("whole_first", settings.whole_first is not None),
    ):
        if asked:
            raise UsageError(
                f"{name} is of the built-in views, which `transforms` replace; add `{AUGMENTATION}` to `transforms`, "
                f"or leave {name} out"
            )
