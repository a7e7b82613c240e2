"""What is to be drawn, checked by a USAE's names and numbers alone. No torch: commands ask before they load it."""

from __future__ import annotations

from collections.abc import Sequence

from usae_train.model.outline import UsaeDescription, check_concept
from usae_train.runtime.errors import UsageError
from usae_viz.concepts.labels import Label
from usae_viz.concepts.parsing import check_concepts
from usae_viz.custom_code.part import CustomPart
from usae_viz.objectives import Objective, parse_objective
from usae_viz.objectives.class_names import ClassName, check_class
from usae_viz.settings import MaximizeSettings
from usae_viz.views.presets import AUGMENTATION, AUGMENTATION_PRESETS, CROP_OF_CLASSES, Augmentation

PARAMETERIZATION_OF = {
    "spectrum": "maco",
    "decay": "fourier",
    "contrast": "fourier",
}  # of settings that only one has


def check_objectives(usae: UsaeDescription, objectives: Sequence[Objective]) -> None:
    """Raise a ValueError for an objective of a concept, backbone or class that a USAE does not have."""
    for objective in objectives:
        for concept in objective.concepts:
            check_concept(usae, concept)
        for backbone in objective.backbones or ():
            usae.check_backbone(backbone)
        for backbone, index in objective.classes:
            check_class(usae, backbone, index)


def check_expression(usae: UsaeDescription, text: str, labels: Sequence[Label]) -> None:
    """Raise a ValueError for a text that is not an objective, or one of what a USAE, or its outline, does not have.

    As much is checked as needs no statistics.
    """

    def known(name: str) -> int:
        if isinstance(name, ClassName):
            check_class(usae, usae.check_backbone(name.backbone), 0, name.name)
        else:
            check_concepts(usae, name, labels)
        return 0  # its number does not matter here

    check_objectives(usae, [parse_objective(text).bound(known)])


def check_clashes(settings: MaximizeSettings) -> None:
    """Raise a ValueError for a setting that another one leaves without meaning."""
    part = settings.parameterization
    if isinstance(part, CustomPart) and settings.mode == "coupled":
        raise UsageError(
            f"parameterization {part.text!r} cannot be drawn coupled: that asks for a latent of which a part is "
            "common; take the mode per-model or shared"
        )
    if (clash := clash_of(settings)) is not None:
        _, why, advice = clash
        raise UsageError(f"{why}; {advice}")
    if not is_augmented(settings):
        _check_without_views(settings)


def clash_of(settings: MaximizeSettings) -> tuple[str, str, str] | None:
    """The first setting that the parameterization, or a picture that is started from, leaves without meaning.

    Returns:
        Its name, what to say of it, and what to do; None where there is none.
    """
    part = settings.parameterization
    for name, owner in PARAMETERIZATION_OF.items():
        if getattr(settings, name) is not None and part != owner:
            a_spectrum = "a spectrum" if name == "spectrum" else name
            why = f"{a_spectrum} is for the parameterization {owner}, not for {part}"
            if isinstance(part, CustomPart):
                why = f"{name} belongs to a built-in parameterization, not to {part.text!r}"
            return name, why, "leave it out"
    for name in ("spectrum", "contrast") if settings.start is not None else ():
        if getattr(settings, name) is not None:
            return name, f"a picture that is started from keeps its own {name}", f"leave --{name} or --start out"
    return None


def is_augmented(settings: MaximizeSettings) -> bool:
    """Whether views are drawn by the augmentation, alone or among custom transforms."""
    return not settings.transforms or AUGMENTATION in settings.transforms


def _differs_from_default(augmentation: Augmentation) -> bool:
    """Whether an augmentation was given; the default's crops were those of a class before 0.9, and are kept so."""
    default = AUGMENTATION_PRESETS["default"]
    crop = default.crop if augmentation.crop == CROP_OF_CLASSES else augmentation.crop
    return augmentation.model_copy(update={"shift": None, "crop": crop}) != default


def _check_without_views(settings: MaximizeSettings) -> None:
    for name, is_set in (
        ("augmentation", _differs_from_default(settings.augmentation)),
        ("whole_first", settings.whole_first is not None),
    ):
        if is_set:
            raise UsageError(
                f"{name} belongs to the built-in views, which `transforms` replace; add `{AUGMENTATION}` to "
                f"`transforms`, or leave {name} out"
            )
