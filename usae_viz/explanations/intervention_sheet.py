"""An intervention as a picture: the photograph, what was edited in it, the answers, the nearest photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw
from torch import Tensor

from usae_train.interventions.edits import EditValue
from usae_viz.concepts.written_edits import SIGN_OF
from usae_viz.explanations.intervention import Intervention, Neighbour
from usae_viz.explanations.overlay import fitted_size, scaled, spotlight
from usae_viz.explanations.sheet import PHOTO_SIDE, ink_of
from usae_viz.export.png import to_picture
from usae_viz.export.sheet import FAINT, INK, MARGIN, PAPER_COLOUR, font_of, shortened

BAR_WIDTH = 220  # pixels of a probability of 1
CLASS_HEIGHT = 34
NAME_WIDTH = 190
MAPS_SHOWN = 4  # edited concepts whose maps are shown
THUMB = 104


def intervention_sheet(
    intervention: Intervention, names: Mapping[int, str], pictures: Mapping[int, Tensor] | None = None
) -> Image.Image:
    """The photograph and the maps of edited concepts; bars of the classes before and after; neighbours.

    Names are of concepts, pictures {number of a neighbour: canvas (3, H, W)}.
    """
    width, height = fitted_size(intervention.photograph, PHOTO_SIDE)
    concepts = list(intervention.edits)[:MAPS_SHOWN]
    across = MARGIN + (1 + max(len(concepts), 2)) * (width + MARGIN)
    near = 0 if intervention.neighbours is None else 2 * (THUMB + 40)
    size = (
        max(across, NAME_WIDTH + BAR_WIDTH + 150),
        70 + height + 30 + CLASS_HEIGHT * len(intervention.classes) + near + 3 * MARGIN,
    )
    page = Image.new("RGB", size, PAPER_COLOUR)
    pen = ImageDraw.Draw(page)
    edits = ", ".join(map(edit_in_words, intervention.edits.items()))
    title = f"{intervention.backbone} on {intervention.photograph.name}: {edits}"
    pen.text((MARGIN, MARGIN), shortened(title, 18, size[0] - 2 * MARGIN), INK, font_of(18))
    page.paste(scaled(intervention.photograph, (width, height)), (MARGIN, 70))
    for at, concept in enumerate(concepts, 1):
        left = MARGIN + at * (width + MARGIN)
        concept_title = f"{concept} {names.get(concept, '')}".strip()
        pen.text((left, 48), shortened(f"{concept_title}, before", 13, width), FAINT, font_of(13))
        page.paste(spotlight(intervention.photograph, intervention.maps.codes[concept], (width, height)), (left, 70))
    top = 70 + height + MARGIN
    pen.text(
        (MARGIN, top), f"cosine of the final embedding, before and after: {intervention.cosine:.3f}", FAINT, font_of(12)
    )
    for row, each in enumerate(intervention.classes):
        _bars(pen, top + 22 + row * CLASS_HEIGHT, each.name, each.probability)
    if intervention.neighbours is not None:
        below = top + 30 + CLASS_HEIGHT * len(intervention.classes)
        for row, (word, neighbours) in enumerate(zip(("before", "after"), intervention.neighbours, strict=True)):
            _neighbours(page, pen, below + row * (THUMB + 40), f"nearest {word}", neighbours, pictures or {})
    return page


def edit_in_words(edit: tuple[int, EditValue]) -> str:
    """`12 = 0`, `7 * 2`, `3 + 1.5`."""
    concept, value = edit
    kind, number = value if isinstance(value, tuple) else ("set", value)
    return f"{concept} {SIGN_OF[kind]} {number:g}"


def _bars(pen: ImageDraw.ImageDraw, top: int, name: str, probability: tuple[float, float]) -> None:
    """A class's probability before (grey) and after (green where it grew, red where it fell, as it is shown)."""
    before, after = probability
    pen.text((MARGIN, top + 6), shortened(name, 13, NAME_WIDTH - 2 * MARGIN), INK, font_of(13))
    change_ink = ink_of(round(after, 3) - round(before, 3))
    for row, (share, ink) in enumerate(((before, FAINT), (after, change_ink))):
        y = top + row * 14
        pen.rectangle((NAME_WIDTH, y + 3, NAME_WIDTH + max(1, round(BAR_WIDTH * share)), y + 12), ink)
        pen.text((NAME_WIDTH + BAR_WIDTH + 8, y), f"{('before', 'after')[row]} {share:.1%}", ink, font_of(12))


def _neighbours(
    page: Image.Image,
    pen: ImageDraw.ImageDraw,
    top: int,
    word: str,
    neighbours: Sequence[Neighbour],
    pictures: Mapping[int, Tensor],
) -> None:
    pen.text((MARGIN, top), word, FAINT, font_of(12))
    for at, each in enumerate(neighbours):
        left = MARGIN + at * (THUMB + MARGIN)
        if left + THUMB > page.width:
            return
        if each.number in pictures:
            page.paste(to_picture(pictures[each.number]).resize((THUMB, THUMB)), (left, top + 17))
        pen.text((left, top + 19 + THUMB), f"{each.cosine:.3f}", FAINT, font_of(11))
