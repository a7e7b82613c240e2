"""`maximize`: one objective, every backbone, the same start; pictures and their verification come back."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from usae_train.provenance import versions
from usae_train.usae import USAE
from usae_viz.augmentations import augmentation
from usae_viz.concepts import caption, check_concept
from usae_viz.loop import Picture, ascend
from usae_viz.objectives import Concept, Objective
from usae_viz.outputs import natural_patches, sheet, write_concept, write_json
from usae_viz.parameterizations import parameterization
from usae_viz.settings import SHARED, MaximizeSettings, maximize_settings
from usae_viz.verify import Scores, verify

Progress = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Result:
    """Pictures of one objective.

    Attributes:
        images: {backbone, or `shared`: (3, H, W), float 0..1}.
        scores: image x backbone; None for an objective that names no concept.
        settings: what they were drawn with.
    """

    usae: USAE = field(repr=False)
    objective: Objective
    images: dict[str, Tensor] = field(repr=False)
    scores: Scores | None = field(repr=False)
    settings: MaximizeSettings

    @property
    def title(self) -> str:
        """What stands over the sheet."""
        if isinstance(self.objective, Concept):
            return caption(self.usae, self.objective.concepts[0])
        return str(self.objective)

    @property
    def folder(self) -> str:
        """The folder's name in a run."""
        return f"concept-{self.objective.concepts[0]:05d}" if isinstance(self.objective, Concept) else "objective"

    def save(self, folder: str | Path) -> Path:
        """Write run.json and the pictures' folder below `folder`; see `DESIGN.md`, "A run's outputs"."""
        folder = Path(folder)
        self.write(folder / self.folder)
        write_json(folder / "run.json", self.record())
        return folder

    def write(self, folder: Path) -> None:
        """Write PNGs, scores.json and sheet.png into a folder."""
        write_concept(folder, self.title, self.images, self.scores, self._patches(), self.record())

    def record(self) -> dict[str, Any]:
        """Resolved settings, versions and which USAE: enough to draw the pictures again."""
        return {
            "objective": str(self.objective), "settings": self.settings.model_dump(mode="json"),
            "usae": self.usae.source, "usae_sha256": self.usae.sha256, "versions": versions(),
        }  # fmt: skip

    def _patches(self) -> dict[str, Any]:
        return natural_patches(self.usae, self.objective.concepts[0]) if self.objective.concepts else {}

    def _repr_png_(self) -> bytes:
        page = io.BytesIO()
        sheet(self.title, self.images, self.scores, self._patches()).save(page, "PNG")
        return page.getvalue()


def maximize(
    usae: USAE, objective: Objective, *, progress: Progress = lambda done, scores: None, **settings: Any
) -> Result:
    """Draw an objective as each backbone sees it: coordinated activation maximization.

    Args:
        usae: a USAE with backbones.
        objective: what to make large, such as `Concept(412) - 0.5 * Concept(7)`.
        progress: called after each step with the number of steps done and {backbone: score}.
        settings: fields of `MaximizeSettings`: mode, image, size, steps, crops, learning_rate, augmentation, seed.

    Returns:
        Pictures, and their verification for the objective's first concept.

    Raises:
        ValueError: for settings, concepts or scores that cannot be; one line.
    """
    return maximize_all(usae, [objective], maximize_settings(**settings), progress)[0]


def maximize_all(
    usae: USAE, objectives: Sequence[Objective], settings: MaximizeSettings,
    progress: Progress = lambda done, scores: None,
) -> list[Result]:  # fmt: skip
    """Draw several objectives in one loop; a result each."""
    for objective in objectives:
        for concept in objective.concepts:
            check_concept(usae, concept)
    size = settings.size or max(backbone.input_size for backbone in usae.backbones.values())
    settings = settings.model_copy(update={"size": size})
    names = usae.names if settings.mode == "per-model" else [SHARED]
    pictures = [
        Picture(name, objective, settings.seed, tuple(usae.names) if name == SHARED else (name,))
        for objective in objectives for name in names
    ]  # fmt: skip
    image = parameterization(settings.image, [picture.seed for picture in pictures], size)
    image.to(usae.dictionary(usae.names[0]).device)
    canvases = ascend(
        usae, image, pictures, augmentation(settings.augmentation), steps=settings.steps, crops=settings.crops,
        learning_rate=settings.learning_rate or image.learning_rate, progress=progress,
    )  # fmt: skip
    results = []
    for row, objective in enumerate(objectives):
        own = dict(zip(names, canvases[row * len(names) : (row + 1) * len(names)], strict=True))
        scores = verify(usae, objective.concepts[0], own, settings.seed) if objective.concepts else None
        results.append(Result(usae, objective, {name: canvas.cpu() for name, canvas in own.items()}, scores, settings))
    return results
