"""What a concept leaves on disk: its PNGs, and its scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from usae_train.files.atomic import write_json
from usae_viz.export.png import write_png
from usae_viz.verification.scores import Scores


def write_concept(
    folder: Path,
    images: Mapping[str, Tensor],
    scores: Scores | None,
    metadata: Mapping[str, Mapping[str, Any]],
    alpha: Mapping[str, Tensor],
) -> dict[str, Any]:
    """Write one concept's PNGs and scores.json into a folder; returns the scores of each, as the files have them.

    Images are {name: (3, H, W)}, `metadata` is what each one's PNG keeps inside, `alpha` (H, W) of those that are to be
    transparent.
    """
    values = {} if scores is None else scores.as_dict()
    by_image: dict[str, Any] = values.get("images", {})
    for name, canvas in images.items():
        write_png(folder / f"{name}.png", canvas, {**metadata[name], "scores": by_image.get(name)}, alpha.get(name))
    if scores is not None:
        write_json(folder / "scores.json", values)
    return by_image
