"""What a maximization returns: pictures, their verification, and how to keep and show them."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from usae_train.files.place_names import named_place, printable
from usae_train.files.provenance import commit, file_hash, versions
from usae_train.model.checkpoint import EMBEDDED
from usae_train.model.usae import USAE
from usae_train.undisturbed import undisturbed
from usae_viz.concepts.naming import caption
from usae_viz.maximization.precision import dtype_for
from usae_viz.maximization.settings import MaximizeSettings
from usae_viz.maximization.snapshots import Frames, write_frames
from usae_viz.objectives import Concept, Objective
from usae_viz.parameterizations.spectra import spectrum_hash
from usae_viz.runs.outputs import write_concept
from usae_viz.runs.patches import natural_patches
from usae_viz.runs.png import to_picture
from usae_viz.runs.record import keep_record, pictures_by_folder
from usae_viz.runs.sheet import sheet
from usae_viz.verification.classes import class_name
from usae_viz.verification.scores import Scores, counted


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
        """What stands over the sheet."""
        return title_of(self.usae, self.objective)

    @property
    def folder(self) -> str:
        """The folder's name in a run."""
        return folder_of(self.objective)

    @undisturbed
    def save(self, folder: str | Path) -> Path:
        """Write run.json and the pictures' folder below `folder`; see `DESIGN.md`, "A run's outputs"."""
        folder = Path(folder)
        verdicts = counted([] if self.scores is None else [self.scores])
        pictures = pictures_by_folder([(self.folder, self.images)])
        record = run_record(self.usae, [self.objective], [self.settings])
        keep_record(folder, {**record, "verdicts": verdicts, "pictures": pictures})
        about = {name: self.about(name) for name in self.images}
        alpha = self.alpha if self.settings.alpha else {}
        write_concept(
            folder / self.folder, self.title, self.images, self.scores, self.patches(), about, alpha, self.given
        )
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
            raise ValueError(f"no snapshots of {name!r}; draw with snapshots=N, one of {', '.join(self.images)}")
        write_frames(Path(file), self.frames[name])
        return Path(file)

    def about(self, name: str) -> dict[str, Any]:
        """What a picture's PNG keeps: enough to draw it again."""
        return {
            "picture": name, "objective": str(self.objective), "settings": self.settings.model_dump(mode="json"),
            "ended": self.ended, "drawn_on": _drawn_on(self.usae, self.settings),
            "given_sha256": given_hashes(self.settings),
            **provenance(self.usae, [self.settings]),
        }  # fmt: skip

    def patches(self) -> dict[str, Any]:
        """The top natural patches of its concept, or else of that it was scored for, a list a backbone."""
        concept = shown_concept(self.objective, self.settings)
        return {} if concept is None else natural_patches(self.usae, concept)

    def _repr_png_(self) -> bytes:
        page = io.BytesIO()
        images = {name: to_picture(canvas) for name, canvas in self.images.items()}
        sheet(self.title, images, self.scores, self.patches(), self.given).save(page, "PNG")
        return page.getvalue()


def shown_concept(objective: Objective, settings: MaximizeSettings) -> int | None:
    """The concept whose natural patches stand under pictures: their own, or else the one that they are scored for."""
    return next(iter(objective.concepts), settings.verify)


def title_of(usae: USAE, objective: Objective) -> str:
    """What stands over an objective's sheet."""
    if isinstance(objective, Concept):
        return caption(usae, objective.concepts[0])
    if objective.concepts or not objective.classes:
        return str(objective)
    backbone, index = objective.classes[0]
    name = class_name(usae.specs[backbone].classes, index) if backbone in usae.specs else None
    return str(objective) if name is None else f"{objective}: {name}"


def folder_of(objective: Objective) -> str:
    """`concept-00412` for a concept alone; for any other objective a name made of its words."""
    if isinstance(objective, Concept) and len(objective.concepts) == 1 and str(objective).count(",") == 0:
        return f"concept-{objective.concepts[0]:05d}"
    return words_of(objective)


def words_of(objective: Objective) -> str:
    """A folder's name made of an objective's words."""
    words = re.sub(r"[^a-z0-9.]+", "-", str(objective).lower().replace(" - ", " minus ")).strip("-")
    return f"objective-{words[:80].rstrip('-')}"


def run_record(usae: USAE, objectives: Sequence[Objective], runs: Sequence[MaximizeSettings]) -> dict[str, Any]:
    """What run.json holds: objectives, resolved settings of each run, versions, hashes of weights and spectrum."""
    return {
        "schema": 1, "objectives": [str(objective) for objective in objectives],
        "runs": [settings.model_dump(mode="json") for settings in runs], **provenance(usae, runs),
    }  # fmt: skip


def _drawn_on(usae: USAE, settings: MaximizeSettings) -> dict[str, Any]:
    """What besides the settings decides a picture's last bits."""
    device = usae.dictionary(usae.names[0]).device
    used = {name: str(dtype_for(settings.dtype, b)).removeprefix("torch.") for name, b in usae.backbones.items()}
    threads = torch.get_num_threads() if device.type == "cpu" else None
    return {"device": device.type, "dtype": used, "threads": threads}


def provenance(usae: USAE, runs: Sequence[MaximizeSettings]) -> dict[str, Any]:
    """Which weights, natural spectrum (of the first run that needs one) and software pictures are made with."""
    spectra = dict.fromkeys(spectrum_hash(settings.spectrum) for settings in runs if settings.spectrum)
    return {
        "usae": _whole(usae.source), "usae_sha256": usae.sha256, "spectrum_sha256": next(iter(spectra), None),
        "versions": versions(), "commit": commit(),
    }  # fmt: skip


def _whole(source: str | None) -> str | None:
    """An id as it is, a folder from the root: pictures and records are read from other places too."""
    if source is None or source in EMBEDDED or not (folder := named_place(source)).joinpath("config.json").is_file():
        return source
    return printable(str(folder.absolute()))


def given_hashes(settings: MaximizeSettings) -> dict[str, str]:
    """{`start` or `reference`: sha256} of the files that a drawing begins at or is compared with.

    What is in no file, or has gone by now, is left out.
    """
    hashes: dict[str, str] = {}
    for name, file in (("start", settings.start), ("reference", settings.reference)):
        if file is not None:
            with suppress(OSError):
                hashes[name] = file_hash(named_place(file))
    return hashes
