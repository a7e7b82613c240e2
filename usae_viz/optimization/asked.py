"""What is to be drawn, checked by a USAE's names and numbers alone. No torch: commands ask before they load it."""

from __future__ import annotations

from collections.abc import Sequence

from usae_train.model.outline import Described
from usae_train.runtime.errors import UsageError
from usae_viz.concepts.labels import Label
from usae_viz.concepts.naming import known_concept
from usae_viz.concepts.parsing import check_concepts
from usae_viz.objectives import Objective, parse_objective
from usae_viz.objectives.class_names import ClassName, check_class
from usae_viz.own_code.part import OwnPart
from usae_viz.settings import MaximizeSettings
from usae_viz.views.presets import AUGMENTATION, PRESETS


def check_objectives(usae: Described, objectives: Sequence[Objective]) -> None:
    """Check that a USAE has what some objectives name.

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
    """Check as much of an objective's text as needs no statistics.

    Args:
        usae: or its outline.
        text: as `parse_objective` reads it.
        labels: names of concepts.

    Raises:
        ValueError: for a text that is no objective, or one of what the USAE does not have.
    """

    def known(called: str) -> int:
        if isinstance(called, ClassName):
            check_class(usae, usae.known_name(called.backbone), 0, called.name)
        else:
            check_concepts(usae, called, labels)
        return 0  # which of the concepts or classes it is, is not asked here

    check_objectives(usae, [parse_objective(text).bound(known)])


def check_clashes(settings: MaximizeSettings) -> None:
    """Check that every setting means something beside the others.

    Raises:
        ValueError: for a setting that another one leaves without meaning.
    """
    part = settings.parameterization
    if isinstance(part, OwnPart) and settings.mode == "coupled":
        raise UsageError(
            f"parameterization {part.text!r} cannot be drawn coupled: that asks for a latent of which a part is "
            "common; take the mode per-model or shared"
        )
    if (misplaced := misplaced_setting(settings)) is not None:
        raise UsageError(f"{misplaced[1]}; leave it out")
    if not is_augmented(settings):
        _check_without_views(settings)


def misplaced_setting(settings: MaximizeSettings) -> tuple[str, str] | None:
    """The first setting that belongs to another parameterization, and what to say of it; None where there is none."""
    part = settings.parameterization
    for name, owner in (("spectrum", "maco"), ("decay", "fourier"), ("contrast", "fourier")):
        if getattr(settings, name) is None or part == owner:
            continue
        if isinstance(part, OwnPart):
            return name, f"{name} is of a built-in parameterization, not of {part.text!r}"
        return name, f"{'a ' if name == 'spectrum' else ''}{name} is for the parameterization {owner}, not for {part}"
    return None


def is_augmented(settings: MaximizeSettings) -> bool:
    """Whether views are drawn by the augmentation, alone or among transforms of somebody's own."""
    return not settings.transforms or AUGMENTATION in settings.transforms


def check_own_start(settings: MaximizeSettings) -> None:
    """Check that a drawing that starts from a picture is given nothing that the picture has itself.

    Raises:
        ValueError: for a spectrum or contrast beside a picture that is started from.
    """
    for name in ("spectrum", "contrast"):
        if settings.start is not None and getattr(settings, name) is not None:
            raise UsageError(f"a picture that is started from keeps its own {name}; leave --{name} or --start out")


def _check_without_views(settings: MaximizeSettings) -> None:
    for name, given in (
        ("augmentation", settings.augmentation.model_copy(update={"shift": None}) != PRESETS["default"]),
        ("whole_first", settings.whole_first is not None),
    ):
        if given:
            raise UsageError(
                f"{name} is of the built-in views, which `transforms` replace; add `{AUGMENTATION}` to `transforms`, "
                f"or leave {name} out"
            )
