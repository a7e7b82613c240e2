"""What our PNGs hold besides the pixels: how it was drawn, with what, and what its verification says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from usae_train.files.json_files import fault_in
from usae_train.files.place_names import path_of_name
from usae_train.files.validation import by_todays_names, check_settings
from usae_train.model.places import EMBEDDED
from usae_train.runtime.errors import UsageError
from usae_viz.export.png import read_png
from usae_viz.settings import MaximizeSettings
from usae_viz.verification.score import ClassScore, Score
from usae_viz.verification.verdict import Verdict, VerdictSettings, worst


class Verification(BaseModel):
    """A picture's row in scores.json. Verdicts are computed from its figures: older files have none."""

    model_config = ConfigDict(extra="ignore")

    drawn_for: list[str]
    backbones: dict[str, ClassScore | Score]

    def verdict(self, thresholds: VerdictSettings) -> Verdict:
        """In the worst of the backbones that it was drawn for."""
        drawn_for = [self.backbones[name] for name in self.drawn_for if name in self.backbones]
        return worst(score.judge(thresholds)[0] for score in drawn_for or self.backbones.values())


class ImageMetadata(BaseModel):
    """What a picture's PNG keeps. Its settings may be of another version: looking at them asks less than drawing."""

    model_config = ConfigDict(extra="allow")

    picture: str
    objective: str
    settings: dict[str, Any]
    usae: str | None = None
    usae_sha256: str | None = None
    spectrum_sha256: str | None = None
    code_sha256: str | None = None
    own_sha256: dict[str, str | None] = {}  # of the code of a custom parameterization and custom transforms
    numbers: dict[str, int] = {}  # of the concepts that the code names, as they were when it was drawn
    given_sha256: dict[str, str] = {}  # of the files `start` and `reference`
    variant: str | None = None
    ended: str | None = None
    drawn_on: dict[str, Any] = {}
    versions: dict[str, str] = {}
    commit: str | None = None
    scores: Verification | None = None

    @property
    def thresholds(self) -> VerdictSettings:
        """Of its verdict; the present defaults for a picture that does not say."""
        try:
            return VerdictSettings.model_validate(self.settings.get("verdict") or {})
        except ValidationError:  # another version's
            return VerdictSettings()

    @property
    def verdict(self) -> Verdict | None:
        """Whether to believe it; None for one that was not verified."""
        return None if self.scores is None else self.scores.verdict(self.thresholds)

    def drawn_with(self) -> MaximizeSettings:
        """The settings, to draw with.

        Raises:
            ValueError: for settings that this version does not have.
        """
        return check_settings(MaximizeSettings, **by_todays_names(MaximizeSettings, self.settings))


def usae_near(usae: str, file: Path) -> str:
    """Where the USAE is, an id or a folder, that a picture or a run's record names; `file` is that PNG or run folder.

    Earlier versions kept a folder as it was named, relative to where they were called: it is looked for beside the file
    and above. Whether it is the right one is for its hash to say.

    Raises:
        ValueError: for the home folder of a user whom this machine does not know.
    """
    if usae in EMBEDDED or path_of_name(usae).exists():
        return usae
    above = (parent / usae for parent in file.resolve().parents)
    return next((str(folder) for folder in above if (folder / "config.json").is_file()), usae)


def read_metadata(file: Path) -> ImageMetadata:
    """What a picture says of itself.

    Raises:
        ValueError: for a file that is not a PNG of ours, or a sheet.
    """
    inside = read_png(file)
    if "sheet" in inside:
        raise UsageError(f"{file} is a sheet of several pictures; show one of those beside it")
    try:
        return ImageMetadata.model_validate(inside)
    except ValidationError as error:
        raise UsageError(f"{file} is a PNG of usae-viz; what it says of itself is broken: {fault_in(error)}") from None
