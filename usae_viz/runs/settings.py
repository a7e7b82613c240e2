"""What the commands that draw take besides a maximization's own settings; no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from usae_train.files.validation import Settings
from usae_viz.concepts.settings import UsaeName, UserLabels

RunsUsae = Annotated[str | None, Field(description="the runs' USAE, where it is not the one that run.json names")]
AnimationFormat = Literal["gif", "mp4"]


class DrawSettings(Settings):
    """Of what a picture is drawn, and what its snapshots become."""

    usae: UsaeName = "demo"
    labels: UserLabels = None
    animation: AnimationFormat = Field("gif", description="what snapshots become: `gif` or `mp4`")


class RenderSettings(Settings):
    """What takes the place of a recipe's own words, and how it is drawn."""

    usae: str | None = Field(None, description="`demo`, `photos`, a USAE folder or a hub id, in place of the recipe's")
    labels: str | None = Field(
        None,
        description="your own names for concepts, the JSON that the explorer exports; in place of the recipe's",
    )
    threads: int = Field(
        1,
        ge=1,
        le=1024,
        description="threads of a single drawing process on the CPU; any number but 1 changes a picture's last bits. "
        "To use more cores, leave it at 1 and raise --workers",
    )
