"""Which files are pictures: by their endings, or where they have none by their first bytes; and what is left out."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path, PurePath

from PIL import Image

# Of what PIL opens: pictures of pixels that it decodes itself. EPS and WMF are drawings that other programs are started
# for, MPEG, HDF5, GRIB and BUFR are stubs, and the rest are icons and fonts of old programs.
FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "TIFF",
    "GIF",
    "BMP",
    "DIB",
    "AVIF",
    "JPEG2000",
    "PPM",
    "QOI",
    "TGA",
    "SGI",
    "PCX",
    "PSD",
    "ICO",
)
_OF_A_FORMAT = {"MPO"}  # opened as JPEG, and has endings of its own
# Those whose first bytes nothing else has: a text may begin with `BM` or `Py`, as BMP and PPM do for PIL.
_MARKED = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF", "JPEG2000")
_MARK_BYTES = 32
# What other programs put beside pictures: thumbnails of network disks (Synology, QNAP), archives of macOS, waste.
_COMPANIONS = {"@eaDir", "@Recycle", "#recycle", "@__thumb", "__MACOSX", "$RECYCLE.BIN", "System Volume Information"}
KNOWN_FORMATS = ".jpg, .png, .webp, .tif, .gif, .bmp, .avif or another that PIL knows"
MAX_KINDS_NAMED = 6  # kinds of what was left out that are named, and one more where it is the last
_OF_ONE = {
    "links that lead nowhere": "link that leads nowhere",
    "links to a folder that they lie in": "link to a folder that it lies in",
    "links, pipes or devices": "link, pipe or device",
    "pipes, sockets or devices": "pipe, socket or device",
    "folders that are there twice": "folder that is there twice",
    "folders that cannot be opened": "folder that cannot be opened",
}
_MAX_ENDING = 10  # characters; what follows the last dot of a sentence is not an ending


@cache
def endings() -> frozenset[str]:
    """Endings of picture files, in small letters, with the dot."""
    formats = Image.registered_extensions()
    return frozenset(ending for ending, kind in formats.items() if kind in FORMATS or kind in _OF_A_FORMAT)


def is_picture_name(name: str) -> bool:
    """Whether a file's name ends as a picture's does."""
    return PurePath(name).suffix.lower() in endings()


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or a companion that another program made."""
    return name.startswith(".") or name in _COMPANIONS


def begins_as_a_picture(file: Path) -> bool:
    """Whether a file begins as pictures do; False for one that cannot be opened."""
    endings()  # which has PIL know all formats
    try:
        with file.open("rb") as opened:
            mark = opened.read(_MARK_BYTES)
    except OSError:
        return False
    return any(accept(mark) is True for accept in (Image.OPEN[kind][1] for kind in _MARKED) if accept is not None)


def ending_of(name: str) -> str:
    """What to call the kind of a file that is not a picture: its ending, in small letters."""
    ending = PurePath(name).suffix.lower()
    if not ending:
        return "without an ending"
    return ending if len(ending) <= _MAX_ENDING and ending[1:].isalnum() else "of other endings"


def left_out_in_words(left_out: Counter[str], place: str) -> str:
    """How many of what were left out of a place; empty when nothing was."""
    if not left_out:
        return ""
    kinds = sorted(left_out.items(), key=lambda kind: (-kind[1], kind[0]))
    n_named = MAX_KINDS_NAMED if len(kinds) > MAX_KINDS_NAMED + 1 else len(kinds)
    named = [f"{count} {_of_one(kind) if count == 1 else kind}" for kind, count in kinds[:n_named]]
    if others := kinds[n_named:]:
        named.append(f"{sum(count for _, count in others)} of {len(others)} other kinds")
    return f"{sum(left_out.values())} left out of {place}: {', '.join(named)}"


def _of_one(kind: str) -> str:
    return _OF_ONE.get(kind, kind.replace("samples", "sample", 1) if kind.startswith("samples") else kind)


def no_pictures(place: str | Path, left_out: str) -> str:
    """What to say of a place without pictures."""
    return f"no pictures in {place}; expected files ending in {KNOWN_FORMATS}" + (f"; {left_out}" if left_out else "")
