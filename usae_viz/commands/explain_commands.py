"""`usae-viz explain` and `intervene`: what each backbone sees in a photograph, and what it answers without it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from usae_train.files.json_files import read_json
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import as_text, figure_table, say, say_json, say_table
from usae_train.runtime.progress import stage_counter
from usae_train.runtime.settings_options import is_given, takes_settings
from usae_train.runtime.shared_options import Device, Quiet
from usae_train.runtime.terminal import one_line_errors, pick_device, progress_report, say_left_out, say_skipped
from usae_viz.commands.completions import complete_usae
from usae_viz.commands.options import PatchImages, take_patch_images
from usae_viz.commands.output_folders import new_run
from usae_viz.explanations.settings import ExplainSettings, InterveneSettings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from usae_train.images.sources import ImageSource
    from usae_train.model.usae import USAE
    from usae_train.runtime.progress import ProgressCallback
    from usae_viz.concepts.labels import Label
    from usae_viz.explanations.concept_maps import ConceptActivity
    from usae_viz.explanations.edit_recipe import EditRecipe, NamedEdit
    from usae_viz.explanations.explanation import Explanation
    from usae_viz.explanations.intervention import Gallery, Intervention
    from usae_viz.explanations.photograph import Photograph
    from usae_viz.runs.run_folder import RunFolder

    EditedPhotos = Sequence[tuple[str, str, NamedEdit]]  # each edit in each photograph: its folder, photograph, edit

TABLE_ROWS = 12  # concepts in the table of a photograph
# The options that a YAML file of edits replaces, by the parameters of `intervene`
RECIPE_OPTIONS = {
    "backbone": "--in",
    "edits": "--set",
    "usae": "--usae",
    "top": "--top",
    "among": "--among",
    "labels": "--labels",
}


@takes_settings(ExplainSettings, completions={"usae": complete_usae})
def explain(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Photographs, picture files.")],
    settings: ExplainSettings,
    images: PatchImages = None,
    run: Annotated[
        Path | None, typer.Option(help="A run folder of the same USAE: its drawings are shown beside their concepts.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write; outputs/explain-TIME by default.")
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print explain.json instead of a table.")] = False,
) -> None:
    """Say what each backbone sees in photographs, where, and what of it carries the backbone's answer.

    Writes a sheet for each photograph, explain.json, and a page that opens from disk: index.html.
    """
    with one_line_errors():
        from usae_train.files.atomic import check_free
        from usae_viz.commands import early_checks
        from usae_viz.explanations.photograph import open_photograph

        place = out or new_run("explain")
        check_free(place)
        photographs = [open_photograph(photo) for photo in photos]
        outline_labels = early_checks.outline_and_labels(settings.usae, settings.labels)
        early_checks.check_explain_options(outline_labels, settings.class_, run, images)
        from usae_train.model.checkpoint import load
        from usae_viz.concepts.labels import labels_of
        from usae_viz.explanations.explain import explain as explain_one
        from usae_viz.explanations.writing import write_explanations

        model = load(settings.usae, pick_device(device))
        run_folder = None if run is None else _read_run_of(model, run)
        labels = labels_of(model, settings.labels)
        explanations = [explain_one(model, photo, settings.class_, labels) for photo in photographs]
        take_patch_images(model, images, quiet)
        with progress_report(quiet) as report:
            progress = stage_counter(report, "top-activating patches")
            write_explanations(explanations, place, settings.columns, settings.top, run_folder, progress)
        if as_json:
            say_json(read_json(place / "explain.json"))
        elif not quiet:
            for each in explanations:
                _say_explanation(each)
            if images is None and model.natural is None and not any(each.names for each in explanations):
                say("no names here; --images FOLDER shows top-activating patches")
            say(str(place / "index.html"))


@takes_settings(InterveneSettings, completions={"usae": complete_usae})
def intervene(
    context: typer.Context,
    photo: Annotated[
        str,
        typer.Argument(
            metavar="PHOTO",
            help="A photograph, a picture file; or a YAML file of photographs and named edits, which "
            "stands for --in, --set, --usae, --top, --among and --labels.",
        ),
    ],
    settings: InterveneSettings,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write; outputs/intervene-TIME by default.")
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print intervene.json instead of a table.")] = False,
) -> None:
    """Edit concepts in a backbone's own forward pass, and show its answers to a photograph before and after.

    What the concept space does not explain stays as it is. Writes sheet.png and intervene.json.
    """
    with one_line_errors():
        from usae_train.files.atomic import check_free
        from usae_viz.commands.early_checks import check_edit_recipe
        from usae_viz.explanations.photograph import open_photograph

        place = out or new_run("intervene")
        check_free(place)
        recipe, edited_photos = _edits_asked(context, photo, settings)
        photographs = {each: open_photograph(each) for _, each, _ in edited_photos}
        check_edit_recipe(recipe)
        from usae_train.model.checkpoint import load
        from usae_viz.concepts.labels import labels_of, names_by_concept
        from usae_viz.explanations.writing import write_interventions
        from usae_viz.export.sheet import SHEET

        model = load(recipe.usae, pick_device(device))
        labels = labels_of(model, recipe.labels)
        interventions, source = _intervened(model, recipe, edited_photos, photographs, labels, quiet)
        names = names_by_concept(labels)
        write_interventions(model, interventions, place, names, source)
        if as_json:
            records = [read_json(place / below / "intervene.json") for below in interventions]
            say_json(records if len(edited_photos) > 1 or edited_photos[0][0] != "." else records[0])
        elif not quiet:
            for below, each_photo, _ in edited_photos:
                _say_answers(interventions[below])
                _say_idle(interventions[below], each_photo, names)
                say(str(place / below / SHEET))


def _edits_asked(context: typer.Context, photo: str, settings: InterveneSettings) -> tuple[EditRecipe, EditedPhotos]:
    """What a YAML file of edits says, or the options; and each edit in each photograph, with its folder."""
    from usae_viz.explanations.edit_recipe import EDIT_ENDINGS, EditRecipe, NamedEdit, read_edit_recipe

    if photo.lower().endswith(EDIT_ENDINGS):
        if options := [word for name, word in RECIPE_OPTIONS.items() if is_given(context, name)]:
            raise typer.BadParameter(
                f"a YAML file already says what is edited, where and with what; leave out {', '.join(options)}"
            )
        recipe = read_edit_recipe(photo)
        return recipe, list(recipe.places())
    if settings.backbone is None or not settings.edits:
        raise typer.BadParameter("say what is edited: --in BACKBONE --set 12=0")
    edit = NamedEdit(backbone=settings.backbone, edits=settings.edits)
    shared = settings.model_dump(include={"usae", "among", "labels", "top"})
    return EditRecipe(photographs=[photo], edits={"edit": edit}, **shared), [(".", photo, edit)]


def _intervened(
    usae: USAE,
    recipe: EditRecipe,
    edited_photos: EditedPhotos,
    photographs: Mapping[str, Photograph],
    labels: Sequence[Label],
    quiet: bool,
) -> tuple[dict[str, Intervention], ImageSource | None]:
    """Each edit in each photograph; all that was typed is checked before the first."""
    from usae_train.images.sources import open_images
    from usae_viz.concepts.edit_text import parse_edit_texts
    from usae_viz.explanations.intervention import intervention_in

    edits = {below: parse_edit_texts(usae, edit.edits, labels) for below, _, edit in edited_photos}
    source = None if recipe.among is None else open_images(recipe.among)
    with progress_report(quiet) as report:
        names = {usae.check_backbone(edit.backbone) for _, _, edit in edited_photos}
        galleries = {} if source is None else _galleries(usae, source, names, report)
        interventions = {
            below: intervention_in(
                usae,
                edit.backbone,
                photographs[photo],
                edits[below],
                recipe.top,
                galleries.get(edit.backbone),
            )
            for below, photo, edit in edited_photos
        }
    return interventions, source


def _galleries(
    usae: USAE, source: ImageSource, backbones: Collection[str], report: ProgressCallback
) -> dict[str, Gallery]:
    """The photographs to find neighbours among, through each backbone that is edited."""
    from usae_train.images.failures import BrokenPictures
    from usae_viz.explanations.intervention import gallery_of

    say_left_out(source.left_out)
    broken = BrokenPictures(len(source), say=say_skipped)  # shared, since each backbone sees all photographs
    progress = stage_counter(report, "neighbours")
    return {name: gallery_of(usae, name, source, progress, broken.add_one) for name in backbones}


def _say_answers(intervention: Intervention) -> None:
    """A table of the classes before and after, and the neighbours."""
    if intervention.classes:
        table = figure_table(("class", "before", "after", "logit before", "after"), {"class"})
        for each in intervention.classes:
            likely = [f"{value:.1%}" for value in each.probability]
            table.add_row(as_text(each.name), *likely, *(f"{value:.2f}" for value in each.logit))
        say_table(table)
    say(f"cosine of the final embedding, before and after: {intervention.cosine:.3f}")
    for word, neighbours in zip(("before", "after"), intervention.neighbours or (), strict=False):
        say(f"nearest {word}: " + ", ".join(f"{each.label} ({each.cosine:.3f})" for each in neighbours))


def _say_idle(intervention: Intervention, photo: str, names: Mapping[int, str]) -> None:
    """A line for every edit that changes nothing, since its concept is not in the photograph."""
    from usae_viz.explanations.intervention_sheet import edit_in_words

    for concept in intervention.idle:
        concept_words = f"{concept} ({names[concept]})" if concept in names else str(concept)
        edit = edit_in_words((concept, intervention.edits[concept]))
        say(
            f"{concept_words} fires in no patch of this photograph: `{edit}` changes nothing; "
            f"usae-viz explain {photo} says which do"
        )


def _read_run_of(usae: USAE, folder: Path) -> RunFolder:
    """A run's drawings.

    Raises:
        ValueError: for a folder that is not a run's, or of another USAE.
    """
    from usae_train.files.place_names import path_of_name
    from usae_viz.runs.run_folder import read_run

    run = read_run(path_of_name(str(folder)))
    if run.usae_sha256 is not None and run.usae_sha256 != usae.sha256:
        raise UsageError(
            f"{folder} was drawn with another USAE than {usae.source}; leave out --run, or name its --usae"
        )
    return run


def _say_explanation(explanation: Explanation) -> None:
    """A table of one photograph: the strongest concepts, each backbone's figures."""
    from usae_viz.explanations.choice import strongest_in_turn

    headings = ["concept", "name"] if explanation.names else ["concept"]
    for name in explanation.maps:
        has_answer = explanation.answer(name) is not None
        headings.append(f"{name}: {explanation.asked_class(name)[1]}" if has_answer else name)
    table = figure_table(headings, {"name"})
    concepts = strongest_in_turn(explanation, TABLE_ROWS)
    drops = {name: explanation.drops(name, concepts) for name in explanation.maps}
    for concept in concepts:
        cells = [
            _cell(maps.activity(concept, None), drops[backbone].get(concept))
            for backbone, maps in explanation.maps.items()
        ]
        concept_name = [as_text(explanation.names.get(concept, ""))] if explanation.names else []
        table.add_row(str(concept), *concept_name, *cells)
    say(explanation.photograph.name)
    say_table(table)
    loss = ", what the class's logit loses without it" if explanation.class_views else ""
    say(f"a cell: largest code, share of the patches in which it fires{loss}")


def _cell(activity: ConceptActivity, drop: float | None) -> str:
    if not activity.area:
        return "-"
    return f"{activity.peak:.1f} {activity.area:.0%}" + ("" if drop is None else f" {drop:+z.2f}")
