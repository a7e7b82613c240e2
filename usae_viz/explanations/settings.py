"""What explaining and intervening can be asked for; no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from usae_train.files.validation import Settings
from usae_viz.concepts.settings import UsaeName, UserLabels

ListLength = Annotated[int, Field(ge=1, le=20, description="how many of each list are shown: classes, neighbours")]


class ExplainSettings(Settings):
    """Whose concepts are shown, how many, and what their importance is for."""

    usae: UsaeName = "photos"
    class_: str | None = Field(
        None,
        json_schema_extra={"option": "--class"},
        description="number or name of the class that importance is for; each classifier's top one by default",
    )
    columns: int = Field(6, ge=1, le=24, description="concepts on a sheet")
    top: int = Field(20, ge=1, le=100, description="how many of each list are shown: concepts, by backbone and order")
    labels: UserLabels = None


class InterveneSettings(Settings):
    """What is edited in which backbone, and how much is shown of what comes of it."""

    backbone: str | None = Field(
        None, json_schema_extra={"option": "--in"}, description="the backbone whose concepts are edited"
    )
    edits: list[str] = Field(
        [],
        json_schema_extra={"option": "--set"},
        description="an edit of a concept, by number or name, at every patch: `12=0` sets its code, `seeds*2` "
        "scales it, `eyes+1.5` adds to it. Can be given several times",
    )
    usae: UsaeName = "photos"
    top: ListLength = 5
    among: str | None = Field(
        None,
        description="photographs of which those nearest by the final embedding are shown: a folder or anything else "
        "that usae-train reads; none by default",
    )
    labels: UserLabels = None
