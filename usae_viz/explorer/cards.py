"""What the page says of each card and picture: fields by name, as `page/data.d.ts` declares them to its scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from usae_train.model.usae import USAE
from usae_train.runtime.json_text import json_text
from usae_viz.concepts.followed import factor_followed
from usae_viz.explorer.sources import Card, Sources
from usae_viz.runs.run_folder import RenderedImage
from usae_viz.verification.score import ClassScore
from usae_viz.verification.verdict import Verdict

PatchRows = list[list[dict[str, Any]]]  # a concept's top-activating patches, by backbone


@dataclass(frozen=True)
class PictureData:
    """A picture of a run, before it is looked at in full."""

    file: str  # below the run's folder, without its ending
    mode: str
    backbone: str
    seed: int
    verdict: Verdict | None  # None: not known
    strengths: list[float | None] | None  # by backbone: a concept's code, or a class's probability
    animation: str | None  # its ending
    variant: str | None  # of a recipe with variants


@dataclass(frozen=True)
class RunPicturesData:
    """A card's pictures in one run."""

    run: int
    pictures: list[PictureData]


@dataclass(frozen=True)
class CardData:
    """A card's own part; its figures are in the columns, at the same place."""

    id: str
    concept: int | None
    detail: int  # details/NUMBER.js
    objective: str
    of_class: bool
    follows: str | None
    natural: list[int]  # number of top-activating patches, by backbone
    run_pictures: list[RunPicturesData]


def card_data(card: Card, at: int, usae: USAE | None, patch_rows: PatchRows, backbones: Sequence[str]) -> CardData:
    """A card.

    Args:
        card: the concept or objective.
        at: its place on the page.
        usae: the USAE, where it is not left out.
        patch_rows: its top-activating patches.
        backbones: the page's.
    """
    label = None if usae is None or card.concept is None else factor_followed(usae, card.concept)
    run_pictures = [
        RunPicturesData(number, [picture_data(each, backbones) for each in _in_order(objective.pictures, backbones)])
        for number, objective in enumerate(card.rendered)
        if objective is not None
    ]
    return CardData(
        id=card.id,
        concept=card.concept,
        detail=at,
        objective=_words(card),
        of_class=bool(_of_class(card)),
        follows=None if label is None else label.value,
        natural=[len(row) for row in patch_rows],
        run_pictures=run_pictures,
    )


def picture_data(picture: RenderedImage, backbones: Sequence[str]) -> PictureData:
    """A picture, with its strengths in the order of the page's backbones."""
    scores = picture.metadata.scores
    by_backbone = {} if scores is None else scores.backbones
    strengths = [round(by_backbone[name].strength, 2) if name in by_backbone else None for name in backbones]
    return PictureData(
        file=picture.path_in_run,
        mode=picture.mode,
        backbone=picture.backbone,
        seed=picture.seed,
        verdict=picture.verdict,
        strengths=None if scores is None else strengths,
        animation=None if picture.animation is None else picture.animation.suffix,
        variant=picture.metadata.variant,
    )


def _of_class(card: Card) -> list[ClassScore]:
    """What its pictures were scored for where that is a class: their strength is a probability then."""
    pictures = [picture for objective in card.rendered if objective is not None for picture in objective.pictures]
    scores = [
        score for picture in pictures if picture.metadata.scores for score in picture.metadata.scores.backbones.values()
    ]
    return [score for score in scores if isinstance(score, ClassScore)]


def _words(card: Card) -> str:
    """Its objective, and what its class is called."""
    names = dict.fromkeys(score.name for score in _of_class(card) if score.name)
    return f"{card.objective}: {', '.join(names)}" if names else card.objective


def _in_order(pictures: Sequence[RenderedImage], backbones: Sequence[str]) -> list[RenderedImage]:
    """By variant and seed, then by backbone as the USAE has them."""
    places = {name: place for place, name in enumerate(backbones)}
    variants = list(dict.fromkeys(picture.metadata.variant for picture in pictures))
    return sorted(
        pictures,
        key=lambda each: (variants.index(each.metadata.variant), each.seed, places.get(each.backbone, len(places))),
    )


def write_details(sources: Sources, patch_rows: dict[int, PatchRows], folder: Path) -> None:
    """A small script per card, loaded when it is looked at: a page from disk may not fetch, but may load scripts."""
    folder.mkdir(parents=True)
    for at, card in enumerate(sources.cards):
        pictures = [
            {picture.path_in_run: _picture_detail(picture) for picture in (objective.pictures if objective else [])}
            for objective in card.rendered
        ]
        detail = {"natural": patches_of(card, patch_rows), "pictures": pictures}
        text = json_text(detail, separators=(",", ":"))
        (folder / f"{at}.js").write_text(f"usaeDetail({at},{text});\n")


def patches_of(card: Card, patch_rows: dict[int, PatchRows]) -> PatchRows:
    """A card's top-activating patches; another objective than a concept has none."""
    return [] if card.concept is None else patch_rows.get(card.concept, [])


def _picture_detail(picture: RenderedImage) -> dict[str, Any]:
    return {"scores": _scores_data(picture), "ended": picture.metadata.ended}


def _scores_data(picture: RenderedImage) -> dict[str, Any] | None:
    """A picture's verification, with the verdict in each backbone and what it lacks there."""
    scores = picture.metadata.scores
    if scores is None:
        return None
    rows = {}
    for name, score in scores.backbones.items():
        verdict, reasons = score.judge(picture.thresholds)
        rows[name] = {**asdict(score), "verdict": verdict, "short": ", ".join(reasons)}
    return {"verdict": picture.verdict, "drawn_for": scores.drawn_for, "backbones": rows}
