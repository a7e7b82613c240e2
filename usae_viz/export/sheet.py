"""Labelled sheets: all pictures of a concept, each over its score, with top-activating patches beneath."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from usae_viz.export.png import to_picture
from usae_viz.export.top_patches import MAX_PATCHES
from usae_viz.verification.scores import SEED_SUFFIX, Scores
from usae_viz.verification.verdict import Verdict

SHEET = "sheet.png"
CELL = 224  # pixels of a picture on a sheet
MARGIN = 12
ROW = 20 + CELL + 26  # height of a further row: a name, the pictures, their scores
PATCHES_PER_ROW = MAX_PATCHES // 2  # top-activating patches per row, two rows per backbone
PATCH_SIDE = (CELL - (PATCHES_PER_ROW - 1) * 4) // PATCHES_PER_ROW  # pixels of one
STRIP = 18 + PATCH_SIDE + 6  # height of a backbone's patches where they have a row of their own
MAX_IN_A_ROW = 8  # pictures in a row; more than that get a row per seed
ABREAST = 5  # pictures in a row where every seed, or every variant, has a single one
TITLE_LINES = 3  # of a title; an objective's text can list as many numbers as a backbone has channels
INK, FAINT, PAPER_COLOUR = "#1a1a1a", "#6b6b6b", "#ffffff"
COLOUR: dict[Verdict, str] = {"strong": "#1b6e3c", "weak": "#8a5a00", "failed": "#b3261e"}


def sheet(
    title: str,
    images: Mapping[str, Image.Image],
    scores: Scores | None,
    patches: Mapping[str, Sequence[Image.Image]],
    given_picture: Tensor | None = None,
    rows: Sequence[Sequence[str]] = (),
) -> Image.Image:
    """All pictures of a concept, each over its score; under those of the first row its top-activating patches.

    A backbone's patches stand under a picture that was drawn for it alone. Where one of the first row was drawn for
    several, nothing would belong under it: then each backbone's patches have a row of their own.

    Args:
        title: over all.
        images: {name: picture}.
        scores: their verification, if there is one.
        patches: top-activating patches, a list per backbone.
        given_picture: (3, H, W), a picture that they started from or were compared with; it stands first.
        rows: names, row by row; all in one row by default. One of too many pictures becomes a row per seed.
    """
    rows = [part for row in rows or [list(images)] for part in _rows_by_seed(row)]
    owners = _owners(rows[0], scores, patches)
    lower = 2 * PATCH_SIDE + 4 if any(patches.values()) else 14
    first = 0 if given_picture is None else 1
    width = MARGIN + (first + max(map(len, rows))) * (CELL + MARGIN)
    width = max(width, 420)
    if owners is None:
        lower, width = len(patches) * STRIP - 20, max(width, 2 * MARGIN + MAX_PATCHES * (PATCH_SIDE + 4))
    lines = _wrapped(title, 18, width - 2 * MARGIN)
    head = MARGIN + 30 + (len(lines) - 1) * 24
    height = head + 20 + CELL + 26 + 20 + lower + (len(rows) - 1) * ROW + MARGIN
    page = _Page((width, height), images, scores, patches)
    for number, line in enumerate(lines):
        page.write((MARGIN, MARGIN + number * 24), line, 18)
    if given_picture is not None:
        page.write((MARGIN, head), "the given picture", 14)
        page.paste((MARGIN, head + 20), to_picture(given_picture), CELL)
    if owners is None:
        for number, backbone in enumerate(patches):
            page.paste_patches((MARGIN, head + ROW + number * STRIP), backbone, MAX_PATCHES)
    for number, row in enumerate(rows):
        top = head + (0 if number == 0 else 38 + lower + number * ROW)
        for column, name in enumerate(row, first):
            x = MARGIN + column * (CELL + MARGIN)
            page.paste_picture((x, top), name)
            if number == 0 and owners is not None:
                page.paste_below((x, top + 20 + CELL + 26), name, owners.get(name))
    return page.page


class _Page:
    """A sheet while it is made."""

    def __init__(
        self,
        size: tuple[int, int],
        images: Mapping[str, Image.Image],
        scores: Scores | None,
        patches: Mapping[str, Sequence[Image.Image]],
    ) -> None:
        self.images, self.scores, self.patches = images, scores, patches
        self.page = Image.new("RGB", size, PAPER_COLOUR)
        self.pen = ImageDraw.Draw(self.page)

    def write(self, place: tuple[int, int], text: str, size: int, ink: str = INK) -> None:
        """A line of text."""
        self.pen.text(place, text, ink, font_of(size))

    def paste(self, place: tuple[int, int], picture: Image.Image, side: int) -> None:
        """A square picture, `side` pixels wide."""
        self.page.paste(picture.resize((side, side), Image.Resampling.BICUBIC), place)

    def paste_picture(self, place: tuple[int, int], name: str) -> None:
        """A picture under its name, over its score."""
        x, top = place
        self.write(place, shortened(name, 14, CELL), 14)
        self.paste((x, top + 20), self.images[name], CELL)
        if self.scores is not None:
            text, ink = score_line(self.scores, name)
            self.write((x, top + 20 + CELL + 4), text, 12, ink)

    def paste_below(self, place: tuple[int, int], name: str, owner: str | None) -> None:
        """Under a picture the patches of the backbone that it was drawn for, or why there are none."""
        if owner:
            self.paste_patches(place, owner, PATCHES_PER_ROW)
        elif not self.patches and self.scores is not None and self.scores.concept is not None:
            self.write(place, "no patches at hand: see --images", 11, FAINT)
        elif not self.patches and self.scores is not None:  # a class has none
            self.write((place[0], place[1] - 4), shortened(_other_readers(self.scores, name), 11, CELL), 11, FAINT)

    def paste_patches(self, place: tuple[int, int], backbone: str, in_a_row: int) -> None:
        """A backbone's patches under its name, `in_a_row` beside each other."""
        (x, y), patches = place, self.patches[backbone]
        text = f"top-activating patches, {backbone}" if patches else f"no patches of {backbone}"
        self.write(place, text, 11, FAINT)
        for number, patch in enumerate(patches):
            row, column = divmod(number, in_a_row)
            self.paste((x + column * (PATCH_SIDE + 4), y + 18 + row * (PATCH_SIDE + 4)), patch, PATCH_SIDE)


def _rows_by_seed(row: Sequence[str]) -> list[Sequence[str]]:
    """A row of names, or a row per seed where one would be a ribbon; names without a seed share a row."""
    if len(row) <= MAX_IN_A_ROW:
        return [row]
    seeds: dict[str, list[str]] = {}
    for name in row:
        seed = SEED_SUFFIX.search(name)
        seeds.setdefault("" if seed is None else seed.group(), []).append(name)
    if len(seeds) == len(row):
        return side_by_side(row)
    return list(seeds.values())


def side_by_side(names: Sequence[str]) -> list[Sequence[str]]:
    """Rows of several names, where a row for each would make a ribbon."""
    return [names[place : place + ABREAST] for place in range(0, len(names), ABREAST)]


def _wrapped(text: str, size: int, width: int) -> list[str]:
    """A text's lines, broken between words; what is longer than `TITLE_LINES` ends in dots."""
    font, lines = font_of(size), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if not lines[-1] or font.getlength(f"{longer} ...") <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines if len(lines) <= TITLE_LINES else [*lines[: TITLE_LINES - 1], f"{lines[TITLE_LINES - 1]} ..."]


def shortened(text: str, size: int, width: int) -> str:
    """A text at most `width` pixels wide: the middle of a longer one is left out."""
    font, letters, short = font_of(size), len(text), text
    while letters > 1 and font.getlength(short) > width:
        letters -= 1
        short = f"{text[: letters // 2]}...{text[len(text) - (letters - letters // 2) :]}"
    return short


def _owners(
    row: Sequence[str], scores: Scores | None, patches: Mapping[str, Sequence[Image.Image]]
) -> dict[str, str] | None:
    """{picture: backbone whose patches stand under it}, each backbone once.

    None where there are patches and a picture was not drawn for one backbone that has some.
    """
    owners = dict[str, str]()
    for name in row if patches else ():
        drawn_for = (name,) if scores is None else scores.drawn_for[name]
        if len(drawn_for) != 1 or drawn_for[0] not in patches:
            return None
        if drawn_for[0] not in owners.values():
            owners[name] = drawn_for[0]
    return owners


def score_line(scores: Scores, name: str) -> tuple[str, str]:
    """What stands under a picture, and its colour: its verdict, and its figures in the backbone where it is worst.

    A picture that is not strong says what it lacks: a large code alone does not show that it is weak.
    """
    backbone = scores.weakest(name)
    verdict, lacking = scores[name][backbone].judge(scores.thresholds)
    where = f" in {backbone}" if len(scores.drawn_for[name]) > 1 else ""
    word = verdict.upper() if verdict == "failed" else verdict
    reasons = lacking or [scores[name][backbone].in_words()]
    text = f"{word}{where}: {', '.join(reasons)}"
    while font_of(12).getlength(text) > CELL and len(reasons) > 1:  # the first says enough
        reasons = reasons[:-1]
        text = f"{word}{where}: {', '.join(reasons)}, ..."
    return shortened(text, 12, CELL), COLOUR[verdict]


def _other_readers(scores: Scores, name: str) -> str:
    """What classifiers say of a picture that was not drawn for them."""
    others = {backbone: score for backbone, score in scores[name].items() if backbone not in scores.drawn_for[name]}
    return ", ".join(f"{backbone} reads {score.cell()}" for backbone, score in others.items())


def font_of(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """The sheets' font at a size in pixels."""
    return ImageFont.load_default(size)
