"""`maximize`: one objective, every backbone, the same start; pictures and their verification come back."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from usae_train.provenance import commit, file_hash, versions
from usae_train.settings import check_settings
from usae_train.usae import USAE
from usae_viz.concepts import caption, check_concept
from usae_viz.loop import Picture, ascend
from usae_viz.objectives import Concept, Objective
from usae_viz.outputs import natural_patches, sheet, write_concept, write_json
from usae_viz.parameterizations import PARAMETERIZATIONS, parameterization
from usae_viz.parameterizations.maco import PACKAGED
from usae_viz.settings import SHARED, MaximizeSettings
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
        record = run_record(self.usae, [self.objective], [self.settings])
        write_json(folder / "run.json", record)
        about = {name: self.about(name) for name in self.images}
        write_concept(folder / self.folder, self.title, self.images, self.scores, self._patches(), about)
        return folder

    def about(self, name: str) -> dict[str, Any]:
        """What a picture's PNG keeps: enough to draw it again."""
        return {
            "picture": name, "objective": str(self.objective), "settings": self.settings.model_dump(mode="json"),
            **_provenance(self.usae, [self.settings]),
        }  # fmt: skip

    def _patches(self) -> dict[str, Any]:
        return natural_patches(self.usae, self.objective.concepts[0]) if self.objective.concepts else {}

    def _repr_png_(self) -> bytes:
        page = io.BytesIO()
        sheet(self.title, self.images, self.scores, self._patches()).save(page, "PNG")
        return page.getvalue()


def run_record(usae: USAE, objectives: Sequence[Objective], runs: Sequence[MaximizeSettings]) -> dict[str, Any]:
    """What run.json holds: objectives, resolved settings of each run, versions, hashes of weights and spectrum."""
    return {
        "schema": 1, "objectives": [str(objective) for objective in objectives],
        "runs": [settings.model_dump(mode="json") for settings in runs], **_provenance(usae, runs),
    }  # fmt: skip


def _provenance(usae: USAE, runs: Sequence[MaximizeSettings]) -> dict[str, Any]:
    spectra = {file_hash(Path(s.spectrum) if s.spectrum else PACKAGED) for s in runs if s.image == "maco"}
    return {
        "usae": usae.source, "usae_sha256": usae.sha256, "spectrum_sha256": next(iter(spectra), None),
        "versions": versions(), "commit": commit(),
    }  # fmt: skip


def resolved(usae: USAE, settings: MaximizeSettings) -> MaximizeSettings:
    """The settings with size and learning rate filled in."""
    size = settings.size or max(backbone.input_size for backbone in usae.backbones.values())
    rate = settings.learning_rate or PARAMETERIZATIONS[settings.image].learning_rate
    return settings.model_copy(update={"size": size, "learning_rate": rate})


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
    return maximize_all(usae, [objective], check_settings(MaximizeSettings, **settings), progress)[0]


def maximize_all(
    usae: USAE, objectives: Sequence[Objective], settings: MaximizeSettings,
    progress: Progress = lambda done, scores: None,
) -> list[Result]:  # fmt: skip
    """Draw several objectives in one loop; a result each."""
    for objective in objectives:
        for concept in objective.concepts:
            check_concept(usae, concept)
    settings = resolved(usae, settings)
    assert settings.size is not None
    assert settings.learning_rate is not None
    drawn_for = {SHARED: None} if settings.mode == "shared" else {name: name for name in usae.names}
    pictures = [
        Picture(name, objective, settings.seed, tuple(usae.names) if backbone is None else (backbone,))
        for objective in objectives for name, backbone in drawn_for.items()
    ]  # fmt: skip
    image = parameterization(settings.image, [picture.seed for picture in pictures], settings.size, settings.spectrum)
    image.to(usae.dictionary(usae.names[0]).device)
    canvases = ascend(
        usae, image, pictures, settings.augmentation, steps=settings.steps, crops=settings.crops,
        learning_rate=settings.learning_rate, dtype=getattr(torch, settings.dtype), progress=progress,
    )  # fmt: skip
    results = []
    for objective, rows in zip(objectives, canvases.split(len(drawn_for)), strict=True):
        own = dict(zip(drawn_for, rows, strict=True))
        first = objective.concepts[:1]
        scores = verify(usae, first[0], own, drawn_for, settings.seed) if first else None
        results.append(Result(usae, objective, {name: canvas.cpu() for name, canvas in own.items()}, scores, settings))
    return results
