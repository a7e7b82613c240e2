"""What a maximization returns: pictures, their verification, and how to keep and show them."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_train.runtime.warning_kinds import FormerName
from usae_viz.export.animation import Frames, write_frames
from usae_viz.export.concept_folder import write_concept
from usae_viz.export.naming import objective_folder, shown_concept, title_of, title_with_edits
from usae_viz.export.png import save_png, to_picture
from usae_viz.export.provenance import drawn_on, given_hashes, provenance
from usae_viz.export.run_record import pictures_by_folder, run_record, write_run_record
from usae_viz.export.sheet import SHEET, sheet
from usae_viz.export.top_patches import top_patch_pictures
from usae_viz.objectives import Objective
from usae_viz.settings import MaximizeSettings
from usae_viz.verification.scores import Scores, count_verdicts


@dataclass(frozen=True)
class Result:
    """Pictures of one objective.

    Attributes:
        images: {name: (3, H, W), float 0..1}; a name is a backbone or `shared`, with `-seed-N` where there are several.
        alpha: {name: (H, W), 0..1}: how much the gradient asked for each pixel, summed over the steps.
        scores: image x backbone, of a concept or a class; None for an objective that names neither.
        settings: what they were drawn with.
        frames: {name: a sequence of canvases (3, H, W)}, with the setting `snapshots`; read from disk.
        given: (3, H, W), the picture that they started from or were compared with.
        ended: why the optimization ended before its last step; None at the last.
        cut_short: whether Ctrl-C or a score that was not finite ended it.
        failed: whether it was the score.
    """

    usae: USAE = field(repr=False)
    objective: Objective
    images: dict[str, Tensor] = field(repr=False)
    alpha: dict[str, Tensor] = field(repr=False)
    scores: Scores | None = field(repr=False)
    settings: MaximizeSettings
    frames: dict[str, Frames] = field(default_factory=dict, repr=False)
    given: Tensor | None = field(default=None, repr=False)
    ended: str | None = None
    cut_short: bool = False
    failed: bool = False

    @property
    def title(self) -> str:
        """The sheet's title."""
        return title_with_edits(title_of(self.usae, self.objective), self.usae, {None: self.settings})

    @property
    def folder(self) -> str:
        """The folder's name in a run."""
        return objective_folder(self.objective)

    @with_torch_defaults
    def save(self, folder: str | Path) -> Path:
        """Write run.json and the pictures' folder below `folder`; see "Formats" in the documentation.

        Top-activating patches are on its sheet where the USAE knows pictures for them: "Python" in the documentation
        says how to give it yours.
        """
        folder = Path(folder)
        verdicts = count_verdicts([] if self.scores is None else [self.scores])
        pictures = pictures_by_folder([(self.folder, self.images)])
        record = run_record(self.usae, [self.objective], [self.settings])
        write_run_record(folder, {**record, "verdicts": verdicts, "pictures": pictures})
        metadata = {name: self.metadata(name) for name in self.images}
        alpha = self.alpha if self.settings.alpha else {}
        by_image = write_concept(folder / self.folder, self.images, self.scores, metadata, alpha)
        description = {"sheet": list(self.images), "title": self.title, "scores": by_image}
        save_png(folder / self.folder / SHEET, self._sheet(), description)
        for name, frames in self.frames.items():
            write_frames(folder / self.folder / f"{name}.gif", frames)
        return folder

    def animate(self, file: str | Path, name: str) -> Path:
        """Write the snapshots of one picture as a .gif or .mp4.

        Args:
            file: ends in .gif or .mp4.
            name: a key of `images`.

        Raises:
            ValueError: without snapshots, or for another ending.
        """
        if not self.frames.get(name):
            raise UsageError(f"no snapshots of {name!r}; draw with snapshots=N, one of {', '.join(self.images)}")
        write_frames(Path(file), self.frames[name])
        return Path(file)

    def metadata(self, name: str) -> dict[str, Any]:
        """What a picture's PNG keeps: enough to draw it again."""
        return {
            "picture": name,
            "objective": str(self.objective),
            "settings": self.settings.model_dump(mode="json"),
            "ended": self.ended,
            "drawn_on": drawn_on(self.usae, self.settings),
            "given_sha256": given_hashes(self.settings),
            **provenance(self.usae, [self.settings]),
        }

    about = FormerName("metadata")

    def patches(self) -> dict[str, Any]:
        """The top-activating patches of its concept, or else of that it was scored for, a list per backbone."""
        concept = shown_concept(self.objective, self.settings)
        return {} if concept is None else top_patch_pictures(self.usae, concept)

    def __repr__(self) -> str:
        return f"<Result of {summary_line(self)}>"

    def _repr_png_(self) -> bytes:
        page = io.BytesIO()
        self._sheet().save(page, "PNG")
        return page.getvalue()

    def _sheet(self) -> Image.Image:
        images = {name: to_picture(canvas) for name, canvas in self.images.items()}
        return sheet(self.title, images, self.scores, self.patches(), self.given)


def summary_line(result: Result) -> str:
    """What was drawn, and each picture's verdict.

    Where there are more than six pictures, how many have which.
    """
    if result.scores is None:
        return f"{result.title}: {', '.join(result.images)}, not verified: it has no concept or class (see `verify`)"
    if len(result.images) <= 6:
        verdicts = "; ".join(f"{image} {result.scores.in_words(image)}" for image in result.images)
    else:
        verdicts = ", ".join(
            f"{count} {verdict}" for verdict, count in count_verdicts([result.scores]).items() if count
        )
    return f"{result.title}: {verdicts}"


def closing_lines(result: Result) -> list[str]:
    """What `maximize` says when it is done: the verdicts, what may help where some are not strong, how to keep it."""
    keep = "in memory only: .save(FOLDER) keeps the pictures, .scores has all figures"
    return [summary_line(result), *_advice(result), keep]


def _advice(result: Result) -> list[str]:
    scores = result.scores
    if scores is None or all(scores.verdict(image) == "strong" for image in result.images):
        return []
    doubtful = sum(scores.verdict(image) != "strong" for image in result.images)
    more = f"more steps (steps={2 * result.settings.steps})"
    are = "is" if doubtful == 1 else "are"
    return [
        f"{plural(doubtful, 'picture')} {are} not reliable yet: {more} or other views may help; "
        "a concept that hardly fires (uv.concept_table(usae)) has nothing to show"
    ]
