"""Writing the explorer: index.html and, beside it, one folder with everything that it shows."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from usae_train.files.atomic import remove_leftovers, replaced_folder, write_atomically
from usae_train.files.provenance import versions
from usae_train.files.validation import by_todays_names
from usae_train.model.natural import natural_pictures
from usae_train.runtime.json_text import json_text
from usae_train.runtime.printing import plural
from usae_train.runtime.progress import ProgressCallback, stage_counter
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_viz.concepts.labels import labels_of
from usae_viz.explorer.atlas import atlas_data
from usae_viz.explorer.cards import PatchRows, card_data, patches_of, write_details
from usae_viz.explorer.columns import Column, concept_columns, picture_columns
from usae_viz.explorer.patches import patch_places, write_patches
from usae_viz.explorer.places import GENERATOR, check_explorer_place
from usae_viz.explorer.settings import ExploreSettings
from usae_viz.explorer.sources import Sources
from usae_viz.explorer.vocabulary import factor_data, most_universal_first
from usae_viz.export.sheet import CELL
from usae_viz.pages.page_files import copy_page_files, page_text, small_copy
from usae_viz.runs.places import EXPLORER_FOLDER
from usae_viz.runs.run_folder import RunFolder
from usae_viz.settings import SHARED, MaximizeSettings

DATA_SCHEMA = 1
DEFAULT_PATCHES = ExploreSettings().patches  # top-activating patches per backbone
THUMB_QUALITY = 88  # of a drawn picture's small copy, which has fine detail
_NAMES = (
    "dom link scale concepts labels search view spotlight heat naturals card focus grid atlas_drawing atlas panel "
    "sheet_parts transfer sheet main"
)
SCRIPTS = tuple(f"{name}.js" for name in _NAMES.split())  # in this order


@with_torch_defaults
def explore(
    sources: Sources,
    out: Path,
    patches: int = DEFAULT_PATCHES,
    report: ProgressCallback = lambda stage, done, total, note: None,
    workers: int | None = 1,
) -> list[str]:
    """Write the explorer.

    Args:
        sources: runs and USAE.
        out: the folder for index.html; a run's own, or any other.
        patches: top-activating patches per backbone, at most 8; 0 leaves them out.
        report: called with the stage, pictures done of all, and a note.
        workers: processes that look at the pictures of top-activating patches; None: as many as `workers_for` says.

    Returns:
        What is missing on the page, in words.

    Raises:
        ValueError: when the folder cannot be written or holds another page.
    """
    check_explorer_place(out)
    remove_leftovers([*out.glob(f".{EXPLORER_FOLDER}.*.part"), *out.glob(".index.html.*.part")])
    missing = [why for run in sources.runs for why in run.unreadable]
    with replaced_folder(out / EXPLORER_FOLDER) as folder:
        patch_rows: dict[int, PatchRows] = {}
        if sources.usae is None:
            missing.append("Made without the USAE: no statistics and no top-activating patches.")
        elif patches:
            patch_rows = _write_patches(sources, patches, folder, report, missing, workers)
        for number, run in enumerate(sources.runs):
            _pictures(run, number, out, folder, report)
        write_details(sources, patch_rows, folder / "details")
        data = page_data(sources, patch_rows, patches, out, missing)
        (folder / "data.js").write_text(f"usaeData({json_text(data, separators=(',', ':'))});\n")
        copy_page_files("usae_viz.explorer", (*SCRIPTS, "theme.css", "explorer.css"), folder)
    words = {"title": data["title"], "generator": GENERATOR, "folder": EXPLORER_FOLDER, "scripts": SCRIPTS}
    write_atomically(out / "index.html", page_text("usae_viz.explorer", **words))
    return missing


def page_data(
    sources: Sources, patch_rows: dict[int, PatchRows], count: int, out: Path, missing: Sequence[str]
) -> dict[str, Any]:
    """What the page knows before anything is looked at in detail: cards, figures, where the pictures are."""
    usae, runs, cards = sources.usae, sources.runs, sources.cards
    backbones = usae.names if usae is not None else _backbones(runs)
    columns: list[Column] = [] if usae is None else concept_columns(usae, [card.concept for card in cards])
    for number, run in enumerate(runs):
        columns += picture_columns(number, run.name, [card.rendered[number] for card in cards], len(runs) == 1)
    source = usae.source if usae is not None else runs[0].usae
    atlas = atlas_data(usae, [card.concept for card in cards])
    return {
        "schema": DATA_SCHEMA,
        "title": _title(sources),
        "usae": {
            "source": source,
            "sha256": usae.sha256 if usae is not None else runs[0].usae_sha256,
            "n_concepts": None if usae is None else usae.n_concepts,
            "active": None if usae is None else usae.sparsity.in_words(usae.k),
            "grid": None if usae is None else usae.grid,
            "factors": [asdict(factor) for factor in factor_data(usae)],
            "top": most_universal_first(usae),
            "names": [] if usae is None else [label.model_dump() for label in labels_of(usae)],
        },
        "backbones": backbones,
        "natural": count if patch_rows else 0,
        "missing": list(missing),
        "runs": [
            {"name": run.name, "full": _full(run, number, out), "settings": _settings_in_words(run)}
            for number, run in enumerate(runs)
        ],
        "columns": [column.as_dict() for column in columns],
        "cards": [
            asdict(card_data(card, at, usae, patches_of(card, patch_rows), backbones)) for at, card in enumerate(cards)
        ],
        "atlas": None if atlas is None else asdict(atlas),
        "versions": versions(),
    }


def _title(sources: Sources) -> str:
    if sources.runs:
        return " and ".join(run.name for run in sources.runs)
    assert sources.usae is not None
    return Path(str(sources.usae.source or "a USAE")).name


def _backbones(runs: Sequence[RunFolder]) -> list[str]:
    """Without the USAE: every backbone that a picture was scored through or drawn for."""
    pictures = [picture for run in runs for objective in run.objectives for picture in objective.pictures]
    scored_names = [name for p in pictures if p.metadata.scores is not None for name in p.metadata.scores.backbones]
    return list(dict.fromkeys(scored_names or [p.backbone for p in pictures if p.backbone != SHARED]))


def _settings_in_words(run: RunFolder) -> str:
    """What its pictures were drawn with, in words."""
    settings = [
        by_todays_names(MaximizeSettings, picture.metadata.settings)
        for objective in run.objectives
        for picture in objective.pictures
    ]
    words = []
    for key, word in (
        ("parameterization", ""),
        ("mode", ""),
        ("steps", " steps"),
        ("views", " views per step"),
        ("size", " px"),
    ):
        values = list(dict.fromkeys(str(each[key]) for each in settings if each.get(key) is not None))
        if values:
            words.append(", ".join(values) + word)
    return " · ".join(words)


def _full(run: RunFolder, number: int, out: Path) -> str:
    """Where its PNGs are, seen from index.html."""
    return "" if run.folder.resolve() == out.resolve() else f"{EXPLORER_FOLDER}/pictures/{number}/"


def _pictures(run: RunFolder, number: int, out: Path, folder: Path, report: ProgressCallback) -> None:
    """A small copy of each PNG; and the PNG itself, where the page is not in the run's own folder."""
    pictures = [picture for objective in run.objectives for picture in objective.pictures]
    for done, picture in enumerate(pictures, 1):
        small = folder / "thumbs" / str(number) / f"{picture.path_in_run}.webp"
        small_copy(picture.file, small, CELL, THUMB_QUALITY)
        if _full(run, number, out):
            large = folder / "pictures" / str(number) / f"{picture.path_in_run}.png"
            large.parent.mkdir(parents=True, exist_ok=True)
            for original in (picture.file, picture.animation):
                if original is not None:
                    shutil.copyfile(original, large.with_suffix(original.suffix))
        report("pictures", done, len(pictures), run.name)


def _write_patches(
    sources: Sources, count: int, folder: Path, report: ProgressCallback, missing: list[str], workers: int | None
) -> dict[int, PatchRows]:
    assert sources.usae is not None
    natural, why = natural_pictures(sources.usae)
    if natural is None:
        missing.append(why)
        return {}
    concepts = [card.concept for card in sources.cards if card.concept is not None]
    patch_rows, unreadable = write_patches(
        sources.usae,
        natural,
        patch_places(natural, concepts, count),
        count,
        folder,
        stage_counter(report, "top-activating patches"),
        workers,
    )
    if unreadable:
        count_unread = plural(len(unreadable), "picture")
        missing.append(f"{count_unread} with top-activating patches could not be read; the first: {unreadable[0]}")
    return patch_rows


def address(page: Path) -> str:
    """The page as a browser's address."""
    return "file://" + quote(str(page.resolve()))


def size_of(out: Path) -> int:
    """Bytes of a page and what it shows, without a run's own pictures."""
    files = [out / "index.html", *(out / EXPLORER_FOLDER).rglob("*")]
    return sum(file.stat().st_size for file in files if file.is_file())
