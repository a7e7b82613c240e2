"""What was typed, checked by text and small files alone: a mistake is reported before torch or a network is loaded.

All of it is checked again, with statistics and weights, where the work is done. Loading torch takes seconds, and so do
networks (tests/benchmarks/mistakes.py has the figures).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from usae_train.files.atomic import check_file
from usae_train.files.place_names import path_of_name
from usae_train.files.whole_numbers import whole_number
from usae_train.images.picture_input import read_named
from usae_train.images.places import check_images
from usae_train.model.outline import UsaeOutline, check_concept, outline_here
from usae_train.runtime.errors import UsageError
from usae_viz.concepts.edit_text import check_edit_texts, check_edits_of
from usae_viz.concepts.labels import Label, labels_of
from usae_viz.concepts.parsing import check_concepts
from usae_viz.concepts.selection import check_selected
from usae_viz.custom_code.importing import check_custom, names_custom_code
from usae_viz.objectives import parse_objective
from usae_viz.objectives.class_names import check_class
from usae_viz.optimization.checks import check_clashes, check_expression
from usae_viz.runs.places import check_run

if TYPE_CHECKING:
    from usae_viz.explanations.edit_recipe import EditRecipe
    from usae_viz.runs.recipe import RenderRecipe
    from usae_viz.settings import MaximizeSettings

OutlineAndLabels = tuple[UsaeOutline, Sequence[Label]]


def outline_and_labels(usae: str, labels: str | None) -> OutlineAndLabels | None:
    """What a USAE on this machine and a labels file say; None for a USAE that has to be loaded first.

    Raises:
        ValueError: for a USAE or a labels file that is not there or cannot be read.
    """
    outline = outline_here(usae)
    if outline is None:
        return None
    with warnings.catch_warnings():  # the warnings are given when the USAE is loaded
        warnings.simplefilter("ignore")
        return outline, labels_of(outline, labels)


def check_place(out: Path | None) -> None:
    """Raise a ValueError where a run may not be written."""
    if out is not None:
        check_file(out / "run.json")


def check_concepts_and_objectives(
    outline_labels: OutlineAndLabels | None, concept: str | None, objectives: Sequence[str]
) -> None:
    """Raise a ValueError for what `--concept` and `--objective` say and the USAE does not have."""
    if outline_labels is None:
        return
    outline, labels = outline_labels
    if concept is not None:
        check_concepts(outline, concept, labels)
    for text in objectives:
        check_expression(outline, text, labels)


def check_drawing(outline_labels: OutlineAndLabels | None, settings: MaximizeSettings) -> None:
    """Raise a ValueError for settings that clash, and for pictures, edits or a concept to verify that are not there."""
    check_clashes(settings)
    for picture in settings.given_pictures.values():
        read_named(picture)
    spectrum = settings.spectrum or ""
    if spectrum.endswith(".safetensors") and not path_of_name(spectrum).exists():
        raise UsageError(f"there is no {spectrum}; make one with usae-train spectrum")
    if outline_labels is None:
        return
    outline, labels = outline_labels
    check_edits_of(outline, settings.edits, labels)
    if settings.verify is not None:
        check_concept(outline, settings.verify)


def check_recipe(recipe: RenderRecipe, outline_labels: OutlineAndLabels | None, folder: Path, allow_code: bool) -> None:
    """Raise a ValueError for what is wrong in a recipe, as far as the outline of its USAE tells.

    Custom code, looked for in the recipe's folder, is not imported yet: torch computes with one thread then.
    """
    for run_settings in (recipe.settings, *recipe.variants.values()):
        run_settings.check_custom(folder, allow_code)
    texts = list[str]()
    for text in recipe.objectives:
        if names_custom_code(text):
            check_custom(text.strip(), folder, allow_code, "objective")
        else:
            parse_objective(text)
            texts.append(text)
    if outline_labels is not None:
        for item in recipe.concepts:
            check_selected(outline_labels[0], item, outline_labels[1])
    # a number that is there: any other, such as 0 in `/ {k}`, might make the text invalid
    number = next((item for item in recipe.concepts if isinstance(item, int)), None)
    for objective, settings in recipe.ways_to_draw():
        check_drawing(outline_labels, settings)
        if number is not None and not names_custom_code(objective):
            texts.append(objective.replace("{k}", str(number)))
    check_concepts_and_objectives(outline_labels, None, texts)


def check_explain_options(
    outline_labels: OutlineAndLabels | None, class_: str | None, run: Path | None, images: str | None
) -> None:
    """Check the options of `explain`, not its photographs. Names of classes are in timm, which is not loaded yet.

    Raises:
        ValueError: for a class by a number that no backbone has, a run or pictures that are not there.
    """
    if run is not None:
        check_run(run)
    check_patch_images(images)
    if outline_labels is not None and class_ is not None and class_.strip().isdecimal():
        _check_class(outline_labels[0], whole_number(class_.strip()))


def _check_class(outline: UsaeOutline, number: int) -> None:
    """Raise a ValueError where no backbone has the class: the error of the first that has a classifier."""
    sizes = {name: spec.classes for name, spec in outline.specs.items()}
    if sizes and number >= max(sizes.values()):
        check_class(outline, next((name for name, size in sizes.items() if size), next(iter(sizes))), number)


def check_edit_recipe(recipe: EditRecipe) -> None:
    """Raise a ValueError for what is wrong in the options of `intervene`; its photographs are checked elsewhere."""
    check_patch_images(recipe.among)
    outline_labels = outline_and_labels(recipe.usae, recipe.labels)
    if outline_labels is None:
        return
    outline, labels = outline_labels
    for edit in recipe.edits.values():
        outline.check_backbone(edit.backbone)
        check_edit_texts(outline, edit.edits, labels)


def check_patch_images(images: str | None) -> None:
    """Raise a ValueError for pictures of the reader's own that are named and not there."""
    if images is not None:
        check_images(images)
