"""Whether to believe a picture: `strong`, `weak` or `failed`, from its figures in one backbone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Verdict = Literal["strong", "weak", "failed"]
VERDICTS: tuple[Verdict, ...] = ("strong", "weak", "failed")  # the best first


class VerdictSettings(BaseModel):
    """From which figures on a picture is strong, and below which it has failed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rank: int = Field(3, ge=1, description="strong: by its mean code the concept is among so many of all")
    percentile: float = Field(
        99.0, ge=0, le=100, description="strong: its code is beyond so many percent of the natural images' largest"
    )
    margin: float = Field(
        1.5, ge=1,
        description="strong: its code (or a class's probability) is so many times that in pictures of noise, in the "
        "same backbone; failed: it is no more than there",
    )  # fmt: skip
    share: float = Field(0.05, ge=0, le=1, description="failed: it fires in less of the tokens")
    probability: float = Field(0.5, ge=0, le=1, description="strong, of a class: its probability, the largest of all")
    class_rank: int = Field(5, ge=1, description="failed, of a class: it is not among so many most probable ones")

    @model_validator(mode="before")
    @classmethod
    def _from_words(cls, value: Any) -> Any:
        """`rank=1,percentile=99.9`, as the command line has it."""
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",")]
        wrong = next((key for key, sign, _ in pairs if not sign), None)
        if wrong is not None:
            raise ValueError(f"{wrong.strip()!r} is no threshold; expected such as rank=1,percentile=99.9")
        return {key.strip(): number.strip() for key, _, number in pairs}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Of several backbones: a picture is as good as in the one in which it is worst."""
    return max(verdicts, key=VERDICTS.index, default="failed")
