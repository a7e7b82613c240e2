"""Options that several commands of usae-viz have, and usae-train does not. Each is declared here alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from usae_train.runtime.progress import stage_counter
from usae_train.runtime.terminal import progress_report, say_left_out, say_skipped

if TYPE_CHECKING:
    from usae_train.model.usae import USAE

JsonForTable = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
PatchImages = Annotated[
    str | None,
    typer.Option(
        help="Take patches from these pictures, a folder or anything else that usae-train reads; every backbone sees "
        "each of them once. By default from those that the USAE was measured on, where they can be read."
    ),
]


def take_patch_images(usae: USAE, images: str | None, quiet: bool) -> None:
    """Let a USAE's top-activating patches come from pictures of the reader's own, where some are named.

    Raises:
        ValueError: for pictures that are not there, or cannot be read.
    """
    if images is None:
        return
    from usae_train.images.sources import open_images
    from usae_train.model.natural import find_strongest

    source = open_images(images)
    say_left_out(source.left_out)
    with progress_report(quiet) as report:
        usae.natural = find_strongest(usae, source, stage_counter(report, "top-activating patches"), say_skipped)
