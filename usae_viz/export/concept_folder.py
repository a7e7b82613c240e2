"""What a concept leaves on disk: its PNGs, its scores and a labelled sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from usae_train.files.atomic import write_atomically
from usae_train.runtime.json_text import json_text
from usae_viz.export.png import save_png, to_picture, write_png
from usae_viz.export.sheet import sheet
from usae_viz.verification.scores import Scores


def write_concept(
    folder: Path,
    title: str,
    images: Mapping[str, Tensor],
    scores: Scores | None,
    patches: Mapping[str, Sequence[Image.Image]],
    metadata: Mapping[str, Mapping[str, Any]],
    alpha: Mapping[str, Tensor],
    given: Tensor | None = None,
) -> None:
    """Write one concept's PNGs, scores.json and sheet.png into a folder.

    Images are {name: (3, H, W)}, `metadata` is what each one's PNG keeps inside, `alpha` (H, W) of those that are to be
    transparent, `given` a picture that they started from or were compared with.
    """
    by_image = {} if scores is None else scores.as_dict()["images"]
    for name, canvas in images.items():
        write_png(folder / f"{name}.png", canvas, {**metadata[name], "scores": by_image.get(name)}, alpha.get(name))
    if scores is not None:
        write_json(folder / "scores.json", scores.as_dict())
    pictures = {name: to_picture(canvas) for name, canvas in images.items()}
    named = {"sheet": list(images), "title": title, "scores": by_image}
    save_png(folder / "sheet.png", sheet(title, pictures, scores, patches, given), named)


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    write_atomically(file, json_text(values, indent=2) + "\n")
