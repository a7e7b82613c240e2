"""What a study of raters can be asked for; no torch."""

from __future__ import annotations

from pydantic import Field

from usae_train.files.validation import Settings
from usae_viz.runs.settings import RunsUsae

KEY_SCHEMA = 1  # of key.json
CONTROL = "natural"  # the condition of questions that show a top-activating patch instead of a picture


class RateSettings(Settings):
    """What is asked, and how often."""

    seed: int = Field(0, ge=0, description="decides order, choices and distractors")
    choices: int = Field(4, ge=2, le=9, description="top-activating patches per question")
    controls: int = Field(
        1,
        ge=0,
        le=100,
        description="questions per concept that show a top-activating patch instead of a picture",
    )
    usae: RunsUsae = None
