"""What a run leaves on disk: PNGs that know their settings, labelled sheets, scores and the run's record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kornia.filters import gaussian_blur2d
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from usae_train.files.atomic import atomic_path
from usae_train.model.usae import USAE
from usae_train.pictures.images import ImageSource, open_images
from usae_viz.verification.scores import SEED, Score, Scores

CELL = 224  # pixels of a picture on a sheet
MARGIN = 12
ROW = 20 + CELL + 26  # height of a further row: a name, the pictures, their scores
PATCHES = 3  # natural patches a row, two rows a backbone
WIDEST = 8  # pictures in a row; more than that get a row a seed
ABREAST = 5  # pictures in a row where every seed, or every variant, has one alone
TITLE_LINES = 3  # of a title; an objective's words can be as many as a backbone has channels
WINDOW = 0.34  # side of a natural patch with its surroundings, as a share of the picture
INK, FAINT, BAD, PAPER = "#1a1a1a", "#6b6b6b", "#b3261e", "#ffffff"


def write_png(file: Path, canvas: Tensor, about: Mapping[str, Any], alpha: Tensor | None = None) -> None:
    """Write a canvas (3, H, W) with its settings and scores inside (text chunk `usae`, JSON).

    Args:
        file: the .png.
        canvas: 0..1.
        about: what it keeps inside.
        alpha: (H, W), 0..1, what the gradient asked for: becomes the transparency, see `opacity`.
    """
    picture = to_picture(canvas)
    if alpha is not None:
        picture.putalpha(transforms.to_pil_image(opacity(alpha)))
    save_png(file, picture, about)


def save_png(file: Path, picture: Image.Image, about: Mapping[str, Any]) -> None:
    """Write a picture with what it is about inside (text chunk `usae`, JSON), whole or not at all."""
    info = PngInfo()
    info.add_itxt("usae", json.dumps(about))
    with atomic_path(file) as temporary:
        picture.save(temporary, "PNG", pnginfo=info)


def rename_png(old: Path, new: Path, names: Mapping[str, Any]) -> None:
    """Write a PNG of ours again under another name; what it says of itself is changed by `names`."""
    about = {**read_png(old), **names}
    with Image.open(old) as picture:
        picture.load()
        save_png(new, picture, about)


def opacity(alpha: Tensor) -> Tensor:
    """Smooth what the gradient asked for, (H, W), and stretch its 10th to 90th percentile over 0..1."""
    side = max(3, 2 * (min(alpha.shape) // 16) + 1)
    smooth = gaussian_blur2d(alpha[None, None].float(), (side, side), (side / 4, side / 4))[0, 0]
    low, high = smooth.quantile(0.1), smooth.quantile(0.9)
    return ((smooth - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")


def to_picture(canvas: Tensor) -> Image.Image:
    """(3, H, W), 0..1 -> an 8-bit picture."""
    return transforms.to_pil_image(canvas.detach().cpu().clamp(0, 1))


def natural_patches(usae: USAE, concept: int, source: ImageSource | None = None) -> dict[str, list[Image.Image]]:
    """The patches of natural pictures in which a concept is strongest, with their surroundings, a list a backbone.

    Args:
        usae: a USAE with statistics.
        concept: the concept.
        source: the pictures that the statistics were measured on; opened from the USAE's record unless given.

    Returns:
        {backbone: pictures}; empty without statistics, or when the pictures are not at hand or are others by now.
    """
    if usae.statistics is None or usae.images is None or usae.grid is None:
        return {}
    try:
        source = source or open_images(usae.images, limit=usae.n_images)
        if source.fingerprint() != usae.fingerprint:
            return {}
        size = max(backbone.input_size for backbone in usae.backbones.values())
        found: dict[str, list[Image.Image]] = {}
        for row, name in enumerate(usae.names):
            numbers = usae.statistics.top_images[row, concept].tolist()
            places = usae.statistics.top_tokens[row, concept].tolist()
            strongest = list(zip(numbers, places, strict=True))[: 2 * PATCHES]
            found[name] = [around(source.read(n, size), p, usae.grid) for n, p in strongest if n >= 0]
        return found
    except ValueError:  # the folder has moved: a sheet without patches says so
        return {}


def sheet(
    title: str, images: Mapping[str, Image.Image], scores: Scores | None, patches: Mapping[str, Sequence[Image.Image]],
    given: Tensor | None = None, rows: Sequence[Sequence[str]] = (),
) -> Image.Image:  # fmt: skip
    """All pictures of a concept, each over its score; under those of the first row the concept's top natural patches.

    Args:
        title: over all.
        images: {name: picture}.
        scores: their verification, if there is one.
        patches: natural patches, a list a backbone.
        given: (3, H, W), a picture that they started from or were compared with; it stands first.
        rows: names, row by row; all in one row unless told. One of too many pictures becomes a row a seed.
    """
    rows = [part for row in rows or [list(images)] for part in _a_row_a_seed(row)]
    tile = (CELL - (PATCHES - 1) * 4) // PATCHES
    lower = 2 * tile + 4 if any(patches.values()) else 14
    first = 0 if given is None else 1
    width = MARGIN + (first + max(map(len, rows))) * (CELL + MARGIN)
    width = max(width, 420)
    lines = _wrapped(title, 18, width - 2 * MARGIN)
    head = MARGIN + 30 + (len(lines) - 1) * 24
    height = head + 20 + CELL + 26 + 20 + lower + (len(rows) - 1) * ROW + MARGIN
    page = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        pen.text((MARGIN, MARGIN + number * 24), line, INK, _font(18))
    if given is not None:
        pen.text((MARGIN, head), "the given picture", INK, _font(14))
        page.paste(to_picture(given).resize((CELL, CELL), Image.Resampling.BICUBIC), (MARGIN, head + 20))
    seen = set[str]()  # a picture for several backbones shows patches of one that has none yet
    for number, row in enumerate(rows):
        top = head + (0 if number == 0 else 38 + lower + number * ROW)
        for column, name in enumerate(row, first):
            x = MARGIN + column * (CELL + MARGIN)
            pen.text((x, top), _short(name, 14, CELL), INK, _font(14))
            page.paste(images[name].resize((CELL, CELL), Image.Resampling.BICUBIC), (x, top + 20))
            if scores is not None:
                text, ink = _score_line(scores, name)
                pen.text((x, top + 20 + CELL + 4), text, ink, _font(12))
            if number == 0 and (scores is not None or patches):  # an objective without a concept has none anywhere
                drawn_for = (name,) if scores is None else scores.drawn_for[name]
                shown = next((b for b in drawn_for if b in patches and b not in seen), drawn_for[0])
                shown = shown if shown in patches else next(iter(patches), "")
                seen.add(shown)
                _paste_patches(page, pen, (x, top + 20 + CELL + 26), shown, patches.get(shown, ()), tile)
    return page


def _a_row_a_seed(row: Sequence[str]) -> list[Sequence[str]]:
    """A row of names, or several where it would be a ribbon; a name without a seed stays with its like."""
    if len(row) <= WIDEST:
        return [row]
    seeds: dict[str, list[str]] = {}
    for name in row:
        found = SEED.search(name)
        seeds.setdefault("" if found is None else found.group(), []).append(name)
    if len(seeds) == len(row):
        return [row[place : place + ABREAST] for place in range(0, len(row), ABREAST)]
    return list(seeds.values())


def _wrapped(text: str, size: int, width: int) -> list[str]:
    """A text's lines, broken between words; what is longer than `TITLE_LINES` ends in dots."""
    font, lines = _font(size), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if not lines[-1] or font.getlength(f"{longer} ...") <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines if len(lines) <= TITLE_LINES else [*lines[: TITLE_LINES - 1], f"{lines[TITLE_LINES - 1]} ..."]


def _short(name: str, size: int, width: int) -> str:
    """A name that is no wider than its picture: of a longer one the middle is left out."""
    font, kept = _font(size), len(name)
    short = name
    while font.getlength(short) > width:
        kept -= 1
        short = f"{name[: kept // 2]}...{name[len(name) - (kept - kept // 2) :]}"
    return short


def _paste_patches(
    page: Image.Image, pen: ImageDraw.ImageDraw, place: tuple[int, int], backbone: str,
    patches: Sequence[Image.Image], tile: int,
) -> None:  # fmt: skip
    x, y = place
    pen.text(place, f"natural patches, {backbone}" if patches else "no natural patches at hand", FAINT, _font(11))
    for number, patch in enumerate(patches):
        row, column = divmod(number, PATCHES)
        at = (x + column * (tile + 4), y + 18 + row * (tile + 4))
        page.paste(patch.resize((tile, tile), Image.Resampling.BICUBIC), at)


def write_concept(
    folder: Path, title: str, images: Mapping[str, Tensor], scores: Scores | None,
    patches: Mapping[str, Sequence[Image.Image]], about: Mapping[str, Mapping[str, Any]],
    alpha: Mapping[str, Tensor], given: Tensor | None = None,
) -> None:  # fmt: skip
    """Write one concept's PNGs, scores.json and sheet.png into a folder.

    Args:
        folder: where.
        title: over the sheet.
        images: {name: (3, H, W)}.
        scores: their verification, if there is one.
        patches: natural patches, a list a backbone.
        about: what each picture's PNG keeps inside.
        alpha: {name: (H, W)} of those that are to be transparent.
        given: a picture that they started from or were compared with.
    """
    by_image = {} if scores is None else scores.as_dict()["images"]
    for name, canvas in images.items():
        write_png(folder / f"{name}.png", canvas, {**about[name], "scores": by_image.get(name)}, alpha.get(name))
    if scores is not None:
        write_json(folder / "scores.json", scores.as_dict())
    pictures = {name: to_picture(canvas) for name, canvas in images.items()}
    named = {"sheet": list(images), "title": title, "scores": by_image}
    save_png(folder / "sheet.png", sheet(title, pictures, scores, patches, given), named)


def _score_line(scores: Scores, name: str) -> tuple[str, str]:
    """What stands under a picture: its score in the backbone it was drawn for, or the weakest of several.

    A picture fails by the share of its tokens: under one that failed stands that, which a large code in a few denies.
    """
    row, drawn_for = scores[name], scores.drawn_for[name]
    if not scores.fired(name):
        least = min(drawn_for, key=lambda backbone: row[backbone].share)
        through = "" if len(drawn_for) == 1 else f" in {least}"
        return f"FAILED{through}: fires in {row[least].share:.1%} of tokens", BAD
    own: Score = min((row[backbone] for backbone in drawn_for), key=lambda score: score.code)
    where = "" if len(drawn_for) == 1 else "weakest: "
    natural = "" if own.percentile is None else f", p{own.percentile:.1f}" + ("" if where else " of natural")
    return f"{where}code {own.code:.2f}, rank {own.rank}{natural}", FAINT


def around(canvas: Tensor, token: int, grid: tuple[int, int]) -> Image.Image:
    """A patch of a canvas (3, H, W) with its surroundings: the token's place in the grid (rows, cols), inside."""
    _, height, width = canvas.shape
    top, left, side = _window(token, grid, height, width)
    return to_picture(canvas[:, top : top + side, left : left + side])


def inside_window(token: int, grid: tuple[int, int]) -> list[int]:
    """The tokens of which `around` shows at least half, in a square picture."""
    rows, cols = grid
    top, left, side = _window(token, grid, 1000, 1000)
    return [
        row * cols + col for row in range(rows) for col in range(cols)
        if top <= (row + 0.5) / rows * 1000 <= top + side and left <= (col + 0.5) / cols * 1000 <= left + side
    ]  # fmt: skip


def _window(token: int, grid: tuple[int, int], height: int, width: int) -> tuple[int, int, int]:
    """Top, left and side of a patch with its surroundings, in pixels."""
    rows, cols = grid
    row, col = divmod(token, cols)
    side = max(1, round(WINDOW * min(height, width)))
    top = min(max(round((row + 0.5) / rows * height - side / 2), 0), height - side)
    left = min(max(round((col + 0.5) / cols * width - side / 2), 0), width - side)
    return top, left, side


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def read_png(file: Path) -> dict[str, Any]:
    """The settings and scores inside a PNG of ours.

    Raises:
        ValueError: for a file that is none.
    """
    try:
        with Image.open(file) as picture:
            text = picture.info.get("usae")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} cannot be read as a picture: {error}") from error
    try:
        about = json.loads(text or "")
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict):
        raise ValueError(f"{file} has no settings inside; expected a PNG that usae-viz wrote")
    return about
