"""What stands in a PNG of ours besides the pixels: how it was drawn, with what, and what its verification says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from usae_train.training.settings import check_settings
from usae_viz.maximization.settings import MaximizeSettings
from usae_viz.runs.png import read_png


class Seen(BaseModel):
    """One concept in one picture through one backbone; the figures of `scores.Score`."""

    model_config = ConfigDict(extra="ignore")

    code: float
    rank: int
    share: float
    percentile: float | None = None
    others: float | None = None
    noise: float | None = None
    fires: bool


class Verification(BaseModel):
    """A picture's row in scores.json."""

    model_config = ConfigDict(extra="ignore")

    fired: bool
    drawn_for: list[str]
    backbones: dict[str, Seen]


class About(BaseModel):
    """What a picture's PNG keeps. Its settings may be of another version: looking at them asks less than drawing."""

    model_config = ConfigDict(extra="allow")

    picture: str
    objective: str
    settings: dict[str, Any]
    usae: str | None = None
    usae_sha256: str | None = None
    spectrum_sha256: str | None = None
    code_sha256: str | None = None
    given_sha256: dict[str, str] = {}  # of the files `start` and `reference`
    variant: str | None = None
    ended: str | None = None
    drawn_on: dict[str, Any] = {}
    versions: dict[str, str] = {}
    commit: str | None = None
    scores: Verification | None = None

    def drawn_with(self) -> MaximizeSettings:
        """The settings, to draw with.

        Raises:
            ValueError: for settings that this version does not have.
        """
        return check_settings(MaximizeSettings, **self.settings)


def read_about(file: Path) -> About:
    """What a picture says of itself.

    Raises:
        ValueError: for a file that is no PNG of ours, or a sheet.
    """
    inside = read_png(file)
    if "sheet" in inside:
        raise ValueError(f"{file} is a sheet of several pictures; show one of those beside it")
    try:
        return About.model_validate(inside)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{file} says what no picture of ours says: {where}: {first['msg']}") from error
