"""An explanation as a picture: a row per backbone, a column per concept, each map over the photograph."""

from __future__ import annotations

from PIL import Image, ImageDraw

from usae_viz.explanations.choice import strongest_in_turn
from usae_viz.explanations.concept_maps import ConceptActivity
from usae_viz.explanations.overlay import fitted_size, scaled, spotlight
from usae_viz.explanations.photograph_concepts import PhotographConcepts
from usae_viz.explanations.settings import ExplainSettings
from usae_viz.export.sheet import COLOUR, FAINT, INK, MARGIN, PAPER_COLOUR, font_of, shortened

SHEET_COLUMNS = ExplainSettings().columns
PHOTO_SIDE = 208  # longer side of a photograph, in pixels
HEAD = 58  # of the title and the line below it
COLUMN_HEAD = 24
CAPTION = 38  # two lines below each map
LEFT = 132  # of the backbones' names
FOR, AGAINST = COLOUR["strong"], COLOUR["failed"]


def explanation_sheet(explanation: PhotographConcepts, columns: int) -> Image.Image:
    """All backbones' maps of the concepts that carry their answers, or of the strongest where there is no answer.

    The columns are concepts, each backbone's first in turn.
    """
    concepts = strongest_in_turn(explanation, columns)
    width, height = fitted_size(explanation.photograph, PHOTO_SIDE)
    row = height + CAPTION + MARGIN
    size = (
        LEFT + (len(concepts) + 1) * (width + MARGIN) + MARGIN,
        HEAD + COLUMN_HEAD + len(explanation.maps) * row + MARGIN,
    )
    page = Image.new("RGB", size, PAPER_COLOUR)
    pen = ImageDraw.Draw(page)
    title = f"What {', '.join(explanation.maps)} see in {explanation.photograph.name}"
    pen.text((MARGIN, MARGIN), shortened(title, 18, size[0] - 2 * MARGIN), INK, font_of(18))
    pen.text((MARGIN, MARGIN + 25), shortened(_legend(explanation), 12, size[0] - 2 * MARGIN), FAINT, font_of(12))
    for at, concept in enumerate(concepts, 1):
        concept_title = f"{concept}  {explanation.names.get(concept, '')}".strip()
        pen.text((LEFT + at * (width + MARGIN), HEAD), shortened(concept_title, 14, width), INK, font_of(14))
    for number, backbone in enumerate(explanation.maps):
        top = HEAD + COLUMN_HEAD + number * row
        _name(pen, explanation, backbone, top)
        drops = explanation.drops(backbone, concepts)
        page.paste(scaled(explanation.photograph, (width, height)), (LEFT, top))
        for at, concept in enumerate(concepts, 1):
            left = LEFT + at * (width + MARGIN)
            page.paste(
                spotlight(explanation.photograph, explanation.map(backbone, concept), (width, height)), (left, top)
            )
            activity = explanation.maps[backbone].activity(concept, None)
            _caption(pen, activity, drops.get(concept), (left, top + height + 3), width)
    return page


def _legend(explanation: PhotographConcepts) -> str:
    maps = "lit where the concept fires, at each backbone's own grid; peak: largest code; area: share of the patches"
    logits = "; logit: what the answer's loses without the concept, exactly (+ speaks for it, - against it)"
    return maps + (logits if explanation.class_views else "")


def _name(pen: ImageDraw.ImageDraw, explanation: PhotographConcepts, backbone: str, top: int) -> None:
    """A backbone and what it answers, left of its row."""
    pen.text((MARGIN, top), shortened(backbone, 15, LEFT - 2 * MARGIN), INK, font_of(15))
    rows, cols = explanation.maps[backbone].grid
    lines = [f"{rows} x {cols} patches"]
    answer = explanation.answer(backbone)
    if answer is not None:
        lines += ["", "it answers", f"{answer.name}, {answer.probability:.0%}"]
        class_, name = explanation.asked_class(backbone)
        if class_ != answer.class_:
            lines += ["", "asked about", name]
    for number, line in enumerate(lines):
        pen.text((MARGIN, top + 22 + 16 * number), shortened(line, 12, LEFT - 2 * MARGIN), FAINT, font_of(12))


def _caption(
    pen: ImageDraw.ImageDraw, activity: ConceptActivity, drop: float | None, place: tuple[int, int], width: int
) -> None:
    if activity.area == 0:
        pen.text(place, "does not fire", FAINT, font_of(12))
        return
    pen.text(place, shortened(f"peak {activity.peak:.1f}, area {activity.area:.0%}", 12, width), FAINT, font_of(12))
    if drop is not None:
        below = (place[0], place[1] + 16)
        pen.text(below, shortened(f"logit {drop:+z.2f}", 12, width), ink_of(round(drop, 2)), font_of(12))


def ink_of(change: float) -> str:
    """The colour of a change, rounded as it is shown: green for more, red for less, grey for none."""
    return FOR if change > 0 else AGAINST if change < 0 else FAINT
