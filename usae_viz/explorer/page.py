"""Writing the explorer: index.html and, beside it, one folder with everything that it shows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, select_autoescape
from PIL import Image

from usae_train.files.atomic import atomic_path, check_file, remove_leftovers
from usae_train.files.placing import permit, place_of, put
from usae_train.files.provenance import versions
from usae_train.files.validation import by_todays_names
from usae_train.model.natural import natural_pictures
from usae_train.runtime.errors import UsageError
from usae_train.runtime.json_text import json_text
from usae_train.runtime.progress import ProgressCallback
from usae_train.runtime.undisturbed import undisturbed
from usae_viz.concepts.labels import labels_of
from usae_viz.concepts.naming import label_of
from usae_viz.explorer.figures import Column, concept_columns, picture_columns
from usae_viz.explorer.natural import WEBP, places, write_natural
from usae_viz.explorer.runs import OWN, RenderedImage, RunFolder
from usae_viz.explorer.sources import Card, Sources
from usae_viz.export.png import read_pixels
from usae_viz.export.sheet import CELL
from usae_viz.settings import SHARED, MaximizeSettings
from usae_viz.verification.scores import ClassScore

SCHEMA = 1
MARK = "usae concept explorer"  # in the page's head: tells a page of ours, which may be replaced, from another's
NATURAL = 6  # natural pictures per backbone
SCRIPTS = ("dom.js", "labels.js", "view.js", "heat.js", "card.js", "grid.js", "panel.js", "sheet.js", "main.js")


@undisturbed
def explore(
    sources: Sources,
    out: Path,
    natural: int = NATURAL,
    report: ProgressCallback = lambda stage, done, total, note: None,
    workers: int | None = 1,
) -> list[str]:
    """Write the explorer.

    Args:
        sources: runs and USAE.
        out: the folder for index.html; a run's own, or any other.
        natural: top natural pictures per backbone, at most 8; 0 leaves them out.
        report: called with the stage, pictures done of all, and a note.
        workers: processes that look at natural pictures; None: as many as `workers_for` says.

    Returns:
        What is missing on the page, in words.

    Raises:
        ValueError: when the folder cannot be written or holds somebody else's page.
    """
    check_place(out)
    remove_leftovers([*out.glob(f".{OWN}.*.part"), *out.glob(".index.html.*.part")])
    missing = [why for run in sources.runs for why in run.unreadable]
    with _replaced(out / OWN) as room:
        found: dict[int, list[list[dict[str, Any]]]] = {}
        if sources.usae is None:
            missing.append("Made without the USAE: no statistics and no natural pictures.")
        elif natural:
            found = _natural(sources, natural, room, report, missing, workers)
        for number, run in enumerate(sources.runs):
            _pictures(run, number, out, room, report)
        _details(sources, found, room)
        data = page_data(sources, found, natural, out, missing)
        (room / "data.js").write_text(f"usaeData({json_text(data, separators=(',', ':'))});\n")
        own = files("usae_viz.explorer").joinpath("page")
        for name in (*SCRIPTS, "explorer.css"):
            (room / name).write_text(own.joinpath(name).read_text(encoding="utf-8"), encoding="utf-8")
    template = Environment(loader=PackageLoader("usae_viz.explorer", "page"), autoescape=select_autoescape())
    page = template.get_template("index.html").render(title=data["title"], mark=MARK, own=OWN, scripts=SCRIPTS)
    with atomic_path(out / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return missing


def check_place(out: Path) -> None:
    """Whether the explorer may be written there.

    Raises:
        ValueError: when it cannot, or would replace what is not ours.
    """
    page, own = out / "index.html", out / OWN
    if page.is_file() and MARK not in page.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(f"{page} is there already and no explorer of ours; choose another --out")
    if own.exists() and not (own / "data.js").is_file():
        raise UsageError(f"{own} is there already and not an explorer's; choose another --out")
    check_file(page)


def page_data(
    sources: Sources, natural: dict[int, list[list[dict[str, Any]]]], count: int, out: Path, missing: Sequence[str]
) -> dict[str, Any]:
    """What the page knows before anything is looked at in detail: cards, figures, where the pictures are."""
    usae, runs, cards = sources.usae, sources.runs, sources.cards
    backbones = usae.names if usae is not None else _backbones(runs)
    columns: list[Column] = [] if usae is None else concept_columns(usae, [card.concept for card in cards])
    for number, run in enumerate(runs):
        columns += picture_columns(number, run.name, [card.drawings[number] for card in cards], len(runs) == 1)
    source = usae.source if usae is not None else runs[0].usae
    return {
        "schema": SCHEMA,
        "title": _title(sources),
        "usae": {
            "source": source,
            "sha256": usae.sha256 if usae is not None else runs[0].usae_sha256,
            "n_concepts": None if usae is None else usae.n_concepts,
            "k": None if usae is None else usae.k,
            "active": None if usae is None else usae.sparsity.in_words(usae.k),
            "grid": None if usae is None else usae.grid,
            "images": None if usae is None else usae.images,
            "labels": [] if usae is None else usae.factors,
            "names": [] if usae is None else [label.model_dump() for label in labels_of(usae)],
        },
        "backbones": backbones,
        "natural": count if natural else 0,
        "missing": list(missing),
        "runs": [
            {"name": run.name, "full": _full(run, number, out), "about": _about(run)} for number, run in enumerate(runs)
        ],
        "columns": [column.as_dict() for column in columns],
        "cards": [_card(card, at, sources, natural, backbones) for at, card in enumerate(cards)],
        "versions": versions(),
    }


def _title(sources: Sources) -> str:
    if sources.runs:
        return " and ".join(run.name for run in sources.runs)
    assert sources.usae is not None
    return Path(str(sources.usae.source or "a USAE")).name


def _backbones(runs: Sequence[RunFolder]) -> list[str]:
    """Without the USAE: every backbone that a picture was scored through or drawn for."""
    pictures = [picture for run in runs for drawing in run.drawings for picture in drawing.pictures]
    scored = [name for p in pictures if p.about.scores is not None for name in p.about.scores.backbones]
    return list(dict.fromkeys(scored or [p.backbone for p in pictures if p.backbone != SHARED]))


def _card(
    card: Card, at: int, sources: Sources, natural: dict[int, list[list[dict[str, Any]]]], backbones: Sequence[str]
) -> dict[str, Any]:
    """A card's own part; the figures are in the columns, at the same place."""
    found = None if sources.usae is None or card.concept is None else label_of(sources.usae, card.concept)
    rows = natural.get(card.concept, []) if card.concept is not None else []
    drawn = [
        {"run": number, "pictures": [_picture(each, backbones) for each in _in_order(drawing.pictures, backbones)]}
        for number, drawing in enumerate(card.drawings)
        if drawing is not None
    ]
    return {
        "id": card.id,
        "concept": card.concept,
        "detail": at,
        "objective": _words(card),
        "of_class": bool(_of_class(card)),
        "follows": None if found is None else found.value,
        "natural": [len(row) for row in rows],
        "drawn": drawn,
    }


def _of_class(card: Card) -> list[ClassScore]:
    """What its pictures were scored for where that is a class: their strength is a probability then."""
    scored = (picture.about.scores for drawing in card.drawings if drawing is not None for picture in drawing.pictures)
    seen = [own for scores in scored if scores for own in scores.backbones.values()]
    return [own for own in seen if isinstance(own, ClassScore)]


def _words(card: Card) -> str:
    """Its objective, and what its class is called."""
    names = dict.fromkeys(own.name for own in _of_class(card) if own.name)
    return f"{card.objective}: {', '.join(names)}" if names else card.objective


def _in_order(pictures: Sequence[RenderedImage], backbones: Sequence[str]) -> list[RenderedImage]:
    """By variant and seed, then by backbone as the USAE has them."""
    places = {name: place for place, name in enumerate(backbones)}
    variants = list(dict.fromkeys(picture.about.variant for picture in pictures))
    return sorted(
        pictures,
        key=lambda each: (variants.index(each.about.variant), each.seed, places.get(each.backbone, len(places))),
    )


def _picture(picture: RenderedImage, backbones: Sequence[str]) -> list[Any]:
    """[path below the run, mode, backbone, seed, verdict (null: not known), strength by backbone, animation, variant].

    The strength is a concept's code, or a class's probability.
    """
    scores = picture.about.scores
    strengths = (
        None
        if scores is None
        else [round(scores.backbones[name].strength, 2) if name in scores.backbones else None for name in backbones]
    )
    moving = None if picture.animation is None else picture.animation.suffix
    return [
        picture.below,
        picture.mode,
        picture.backbone,
        picture.seed,
        picture.verdict,
        strengths,
        moving,
        picture.about.variant,
    ]


def _about(run: RunFolder) -> str:
    """What its pictures were drawn with, in words."""
    settings = [by_todays_names(MaximizeSettings, p.about.settings) for own in run.drawings for p in own.pictures]
    said = []
    for key, word in (
        ("parameterization", ""),
        ("mode", ""),
        ("steps", " steps"),
        ("views", " views per step"),
        ("size", " px"),
    ):
        found = list(dict.fromkeys(str(each[key]) for each in settings if each.get(key) is not None))
        if found:
            said.append(", ".join(found) + word)
    return " · ".join(said)


def _full(run: RunFolder, number: int, out: Path) -> str:
    """Where its PNGs are, seen from index.html."""
    return "" if run.folder.resolve() == out.resolve() else f"{OWN}/pictures/{number}/"


def _pictures(run: RunFolder, number: int, out: Path, room: Path, report: ProgressCallback) -> None:
    """A small copy of each PNG; and the PNG itself, where the page is not in the run's own folder."""
    pictures = [picture for drawing in run.drawings for picture in drawing.pictures]
    for done, picture in enumerate(pictures, 1):
        small = room / "thumbs" / str(number) / f"{picture.below}.webp"
        small.parent.mkdir(parents=True, exist_ok=True)
        whole = read_pixels(picture.file)
        thumb = whole.convert("RGBA" if "A" in whole.getbands() else "RGB")
        thumb.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
        thumb.save(small, **{**WEBP, "quality": 88})
        if _full(run, number, out):
            large = room / "pictures" / str(number) / f"{picture.below}.png"
            large.parent.mkdir(parents=True, exist_ok=True)
            for original in (picture.file, picture.animation):
                if original is not None:
                    shutil.copyfile(original, large.with_suffix(original.suffix))
        report("pictures", done, len(pictures), run.name)


def _natural(
    sources: Sources, count: int, room: Path, report: ProgressCallback, missing: list[str], workers: int | None
) -> dict[int, list[list[dict[str, Any]]]]:
    assert sources.usae is not None
    pictures, why = natural_pictures(sources.usae)
    if pictures is None:
        missing.append(why)
        return {}
    concepts = [card.concept for card in sources.cards if card.concept is not None]
    found, unreadable = write_natural(
        sources.usae,
        pictures,
        places(pictures, concepts, count),
        count,
        room,
        lambda done, total: report("natural pictures", done, total, ""),
        workers,
    )
    if unreadable:
        missing.append(f"{len(unreadable)} natural pictures could not be read; the first: {unreadable[0]}")
    return found


def _details(sources: Sources, natural: dict[int, list[list[dict[str, Any]]]], room: Path) -> None:
    """A small script a card, loaded when it is looked at: a page from disk may not fetch, but may load scripts."""
    (room / "details").mkdir(parents=True)
    for at, card in enumerate(sources.cards):
        pictures = [
            {picture.below: _in_full(picture) for picture in (drawing.pictures if drawing else [])}
            for drawing in card.drawings
        ]
        rows = natural.get(card.concept, []) if card.concept is not None else []
        detail = {"natural": rows, "pictures": pictures}
        text = json_text(detail, separators=(",", ":"))
        (room / "details" / f"{at}.js").write_text(f"usaeDetail({at},{text});\n")


def _in_full(picture: RenderedImage) -> dict[str, Any]:
    about = picture.about
    return {"scores": _judged(picture), "ended": about.ended, "settings": about.settings}


def _judged(picture: RenderedImage) -> dict[str, Any] | None:
    """A picture's verification, with the verdict in each backbone and what it lacks there."""
    scores = picture.about.scores
    if scores is None:
        return None
    rows = {}
    for name, own in scores.backbones.items():
        verdict, short = own.lacks(picture.thresholds)
        rows[name] = {**asdict(own), "verdict": verdict, "short": ", ".join(short)}
    return {"verdict": picture.verdict, "drawn_for": scores.drawn_for, "backbones": rows}


class _replaced:
    """A folder of ours that is built beside its place and then takes it, in the stead of an older one.

    The older one is moved aside before it is removed: half of it in its place would be no explorer's any more.

    Raises:
        ValueError: when it cannot be written; nothing of it is left then.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder = place_of(folder)
        self.room = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        self.aside = folder.with_name(f".{folder.name}.old.{os.getpid()}.part")
        self.missing = [parent for parent in folder.parents if not parent.exists()]

    def __enter__(self) -> Path:
        shutil.rmtree(self.room, ignore_errors=True)
        self.room.mkdir(parents=True)
        return self.room

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                self._take()
        except OSError as wrong:
            error = wrong
        finally:
            for left in (self.room, self.aside):
                shutil.rmtree(left, ignore_errors=True)
        if error is not None:
            with suppress(OSError):  # nothing was written: leave nothing
                for parent in self.missing:
                    parent.rmdir()
        if isinstance(error, OSError):
            raise UsageError(
                f"{self.folder} cannot be written: {error.strerror or error}; free some space, or choose another place "
                "with --out"
            ) from error

    def _take(self) -> None:
        shutil.rmtree(self.aside, ignore_errors=True)
        older = self.folder.exists()
        if older:
            os.replace(self.folder, self.aside)
        try:
            permit(self.room)
            put(self.room, self.folder)
        except OSError:
            if older:
                os.replace(self.aside, self.folder)
            raise


def address(page: Path) -> str:
    """The page as a browser's address."""
    return "file://" + quote(str(page.resolve()))


def size_of(out: Path) -> int:
    """Bytes of a page and what it shows, without a run's own pictures."""
    return sum(file.stat().st_size for file in [out / "index.html", *(out / OWN).rglob("*")] if file.is_file())
