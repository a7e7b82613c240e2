"""What was typed, checked by text and small files alone: a mistake is answered before torch or a network is loaded.

All of it is asked again, with what statistics and weights tell, by what does the work. Loading torch takes seconds, and
so do networks (tests/benchmarks/mistakes.py has the figures).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from usae_train.files.atomic import check_file
from usae_train.files.place_names import named_place
from usae_train.files.whole_numbers import whole_number
from usae_train.images.given import read_named
from usae_train.images.places import check_images
from usae_train.model.outline import UsaeOutline, outline_here
from usae_train.runtime.errors import UsageError
from usae_viz.concepts.edit_text import check_edit_texts, check_edits_of
from usae_viz.concepts.labels import Label, labels_of
from usae_viz.concepts.naming import known_concept
from usae_viz.concepts.parsing import check_concepts
from usae_viz.concepts.selection import Selection, check_selected
from usae_viz.explorer.places import check_run
from usae_viz.objectives import parse_objective
from usae_viz.objectives.class_names import check_class
from usae_viz.optimization.checks import check_clashes, check_own_start, check_written
from usae_viz.own_code.importing import check_own, is_custom

if TYPE_CHECKING:
    from usae_viz.explanations.edit_recipe import EditRecipe
    from usae_viz.runs.recipe import RenderRecipe
    from usae_viz.settings import MaximizeSettings

Known = tuple[UsaeOutline, Sequence[Label]]


def known_of(usae: str, labels: str | None) -> Known | None:
    """What a USAE on this machine and a labels file say; None for a USAE that only loading it can tell of.

    Raises:
        ValueError: for a USAE or a file that is not there or is none.
    """
    outline = outline_here(usae)
    if outline is None:
        return None
    with warnings.catch_warnings():  # they are given when the USAE is loaded
        warnings.simplefilter("ignore")
        return outline, labels_of(outline, labels)


def check_place(out: Path | None) -> None:
    """Check that a run may be written there.

    Raises:
        ValueError: when it may not.
    """
    if out is not None:
        check_file(out / "run.json")


def check_typed(known: Known | None, concept: str | None, objectives: Sequence[str]) -> None:
    """Check what `--concept` and `--objective` say.

    Raises:
        ValueError: for what the USAE does not have.
    """
    if known is None:
        return
    outline, labels = known
    if concept is not None:
        check_concepts(outline, concept, labels)
    for text in objectives:
        check_written(outline, text, labels)


def check_drawing(known: Known | None, settings: MaximizeSettings) -> None:
    """Check the settings of a drawing: those that clash, pictures that are named, edits, what is verified.

    Raises:
        ValueError: for what cannot be.
    """
    check_clashes(settings)
    check_own_start(settings)
    for picture in (settings.start, settings.reference):
        if picture is not None:
            read_named(picture)
    if settings.spectrum is not None and settings.spectrum.endswith(".safetensors"):
        _check_spectrum(settings.spectrum)
    if known is None:
        return
    outline, labels = known
    check_edits_of(outline, settings.edits, labels)
    if settings.verify is not None:
        known_concept(outline, settings.verify)


def _check_spectrum(file: str) -> None:
    if not named_place(file).exists():
        raise UsageError(f"there is no {file}; make one with usae-train spectrum")


def check_recipe(recipe: RenderRecipe, known: Known | None, folder: Path, allow_code: bool) -> None:
    """Check all that a recipe says. Code of somebody's own is not imported yet: torch computes by one thread then.

    Args:
        recipe: as `read_render_recipe` gives it.
        known: whose concepts, as `known_of` gives them.
        folder: where it stands: code of somebody's own is looked for there.
        allow_code: whether that may be imported.

    Raises:
        ValueError: for what cannot be.
    """
    for each in (recipe.settings, *recipe.variants.values()):
        each.check_own(folder, allow_code)
    written = list[str]()
    for text in recipe.objectives:
        if is_custom(text):
            check_own(text.strip(), folder, allow_code, "objective")
        else:
            parse_objective(text)
            written.append(text)
    if known is not None:
        for item in recipe.concepts:
            check_selected(known[0], item, known[1])
    number = _first_number(recipe.concepts)
    for objective, settings in recipe.ways_to_draw():
        check_drawing(known, settings)
        if number is not None and not is_custom(objective):
            written.append(objective.replace("{k}", str(number)))
    check_typed(known, None, written)


def _first_number(concepts: Sequence[int | str | Selection]) -> int | None:
    """The first of a recipe's concepts that is a number there; None where all are told otherwise.

    What is drawn for each is checked with it: another number may make no objective of a text, as 0 does of `/ {k}`.
    """
    return next((item for item in concepts if isinstance(item, int)), None)


def check_explained(known: Known | None, class_: str | None, run: Path | None, images: str | None) -> None:
    """Check what `explain` was asked besides its photographs. Names of classes are in timm, which is not loaded yet.

    Raises:
        ValueError: for a class by a number that no backbone has, a run or pictures that are not there.
    """
    if run is not None:
        check_run(run)
    check_own_pictures(images)
    if known is not None and class_ is not None and class_.strip().isdecimal():
        _check_class(known[0], whole_number(class_.strip()))


def _check_class(outline: UsaeOutline, number: int) -> None:
    """Raise a ValueError where no backbone has the class, as the first says that has a classifier."""
    sizes = {name: spec.classes for name, spec in outline.specs.items()}
    if sizes and number >= max(sizes.values()):
        check_class(outline, next((name for name, size in sizes.items() if size), next(iter(sizes))), number)


def check_edited(recipe: EditRecipe) -> None:
    """Check what `intervene` was asked besides its photographs.

    Raises:
        ValueError: for a backbone, concept, number, labels or pictures that cannot be.
    """
    check_own_pictures(recipe.among)
    known = known_of(recipe.usae, recipe.labels)
    if known is None:
        return
    outline, labels = known
    for edit in recipe.edits.values():
        outline.known_name(edit.backbone)
        check_edit_texts(outline, edit.edits, labels)


def check_own_pictures(images: str | None) -> None:
    """Check that pictures of the reader's own are there, where some are named.

    Raises:
        ValueError: when they are not.
    """
    if images is not None:
        check_images(images)
