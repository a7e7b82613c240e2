"""What a command was given to work on: pictures, and how many are left out; backbones, or the default ones."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import typer

from usae_train.runtime.printing import say
from usae_train.runtime.terminal import say_left_out

if TYPE_CHECKING:
    from usae_train.images.sources import ImageSource


def open_pictures(images: str, limit: int | None = None, is_main: bool = True) -> ImageSource:
    """Open pictures, and say on stderr how many of what are there and left out.

    Args:
        images: what `open_images` takes.
        limit: take at most this many pictures.
        is_main: of processes that work as one, the first says it.

    Raises:
        ValueError: as `open_images` does.
    """
    from usae_train.images.sources import open_images

    source = open_images(images, limit)
    if is_main:
        say_left_out(source.left_out)
    return source


def say_default_backbones(backbones: str | None) -> None:
    """Say on stderr, before anything is fetched, which backbones are taken where none were named."""
    from usae_train.backbones.spec import PAPER

    if backbones is None:
        models = ", ".join(spec.model for spec in PAPER.values())
        say(f"no --backbones: taking `paper`, {len(PAPER)} networks from the hub ({models})", err=True)


def check_pictures_options(images: str, typed: Collection[str]) -> None:
    """Refuse, as wrong usage, options of how pictures are read where tokens were read before."""
    from usae_train.tokens.places import is_store, names_tokens

    words = [f"--{name.replace('_', '-')}" for name in ("dtype", "max_broken", "limit", "readers") if name in typed]
    if words and (is_store(images) or names_tokens(images)):
        raise typer.BadParameter(
            f"{images} is tokens already; {', '.join(words)} would do nothing there; leave them out"
        )
