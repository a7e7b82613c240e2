"""What the concept explorer can be asked for; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from usae_train.files.validation import Settings
from usae_viz.runs.settings import RunsUsae


class ExploreSettings(Settings):
    """What is on the page."""

    FORMER: ClassVar[Mapping[str, str]] = {"natural": "patches"}

    patches: int = Field(
        6, ge=0, le=8, description="top-activating patches per backbone and concept; 0 leaves them out"
    )
    usae: RunsUsae = None
    pictures_only: bool = Field(False, description="do without the USAE: no statistics, no top-activating patches")
