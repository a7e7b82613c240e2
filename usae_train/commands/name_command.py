"""`usae-train name`: names for concepts from classes of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from usae_train.commands.opening import open_pictures
from usae_train.commands.options import Usae
from usae_train.evaluation.settings import NameSettings
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import as_text, figure_table, plural, say, say_json, say_table
from usae_train.runtime.progress import stage_counter
from usae_train.runtime.settings_options import takes_settings
from usae_train.runtime.shared_options import Device, Quiet
from usae_train.runtime.terminal import one_line_errors, pick_device, progress_report, say_skipped

if TYPE_CHECKING:
    from usae_train.evaluation.class_concepts import ClassConcepts

SHOWN_NAMES = 20  # of the table; the file has all


@takes_settings(NameSettings)
def name(
    usae: Usae,
    images: Annotated[
        str,
        typer.Argument(
            help="Pictures of classes: a folder with a folder for each class, a WebDataset with a `.cls` beside each "
            "picture, or `hf:NAME[:SPLIT[:COLUMN]]` with a column of classes."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The labels file to write, JSON; must not exist.")],
    settings: NameSettings,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print names and shared concepts as JSON.")] = False,
) -> None:
    """Name concepts after classes of pictures, where two halves of the pictures agree: a file for `--labels`.

    A concept gets the name of a class if its largest codes tell that class's pictures from all others, and from each
    other class alone, in each half and every backbone in which it fires. What is not sure gets no name.
    """
    with one_line_errors(quiet):
        from usae_train.commands.early_checks import check_usaes
        from usae_train.files.atomic import check_file
        from usae_train.images.places import check_images

        check_file(out)
        if out.exists():  # names that were given by hand are not to be lost
            raise UsageError(f"{out} is there already; choose another --out")
        check_usaes([usae])
        check_images(images, settings.limit)
        from usae_train.evaluation.naming import name_concepts, names_of, naming_as_json, write_labels
        from usae_train.images.classes import need_classes
        from usae_train.model.checkpoint import load

        source = open_pictures(images, settings.limit)
        need_classes(source, settings.label_column)  # before networks are built
        model = load(usae, pick_device(device))
        with progress_report(quiet) as report:
            concepts = name_concepts(model, source, settings, stage_counter(report, "pictures"), say_skipped)
        write_labels(names_of(concepts), model, out)
        if as_json:
            say_json(naming_as_json(concepts))
        elif not quiet:
            _print(concepts)
            _summarize(concepts, model.n_concepts, out)


def _summarize(concepts: ClassConcepts, n_concepts: int, out: Path) -> None:
    from usae_train.evaluation.naming import names_of

    names = names_of(concepts)
    say(
        f"{out}: {plural(len(names), 'concept')} of {n_concepts} named, after {len({each.name for each in names})} of "
        f"{plural(len(concepts.classes.names), 'class')}; with classes assigned at random "
        f"{concepts.by_chance} would be"
    )


def _print(concepts: ClassConcepts) -> None:
    """The names, the surest first, and the concepts that several classes share."""
    from usae_train.evaluation.naming import names_of

    table = figure_table(("concept", "name", "AUROC at least", "of its strongest"), {"name"})
    for each in names_of(concepts)[:SHOWN_NAMES]:
        right, count = each.strongest
        table.add_row(str(each.concept), as_text(each.name), f"{each.auroc:.2f}", f"{right} of {count}")
    if concepts.named:
        say_table(table)
    if len(concepts.named) > SHOWN_NAMES:
        say(f"and {len(concepts.named) - SHOWN_NAMES} more")
    for shared in concepts.shared[:SHOWN_NAMES]:
        classes = ", ".join(concepts.classes.names[number] for number in shared.classes)
        say(f"concept {shared.concept} is shared by {classes} (AUROC at least {shared.auroc:.2f}), and gets no name")
