"""Whether to believe a picture: `strong`, `weak` or `failed`, from its figures in one backbone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from usae_train.files.validation import OneLineErrorModel
from usae_train.runtime.errors import UsageError

Verdict = Literal["strong", "weak", "failed"]
VERDICTS: tuple[Verdict, ...] = ("strong", "weak", "failed")  # the best first


# Measured by tests/benchmarks/verdicts.py, whose docstring has the tables. In the demo, of 12288 pairs of a concept and
# a picture of noise, and of 172 pictures of one step, strong are
#     by `rank` alone                      109    13      (of every hundred concepts one is among the three in noise)
#     by `rank` and `percentile` 90         34     7
#     by `rank` and `percentile` 99          1     1      (of 24 pictures drawn in 48 steps, 2 views: 24)
#     with `margin` 1.2 as well              1     1      (24)
#     with `margin` 1.5                      0     1      (23: a concept that fires in noise is at 1.45)
# and on real networks, lite0, of 3072 and 50 none by `percentile` 99; of 6 drawn in 48 steps, 3 views, all. Drawn ones
# have rank 1 or 2 and 99.5 or more. `share`: a picture of noise reached 0.03 (the demo's stripes, before they could be
# drawn). Classes of lite0: of 6000 pairs with noise and 15 pictures of one step none is strong, 19 are weak; three
# drawn ones have 0.9999, 0.999 and 0.57 (a moving van, which lite2 reads as a sea cucumber: 48 steps were too few).
class VerdictSettings(OneLineErrorModel):
    """The figures from which a picture is strong, and below which it has failed."""

    model_config = ConfigDict(allow_inf_nan=False)

    rank: int = Field(3, ge=1, description="strong: by its mean code the concept is among the first N")
    percentile: float = Field(
        99.0, ge=0, le=100, description="strong: its code is beyond this percentage of the natural pictures' largest"
    )
    margin: float = Field(
        1.2,
        ge=1,
        description="strong: its code (or a class's probability) is N times that in pictures of noise, in the "
        "same backbone; failed: it is not larger than there",
    )
    share: float = Field(0.05, ge=0, le=1, description="failed: it fires in less than this share of the tokens")
    probability: float = Field(0.5, ge=0, le=1, description="strong, of a class: its probability, the largest of all")
    class_rank: int = Field(5, ge=1, description="failed, of a class: it is not among the N most probable ones")

    @model_validator(mode="before")
    @classmethod
    def _from_words(cls, value: Any) -> Any:
        """`rank=1,percentile=99.9`, as the command line has it."""
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",")]
        wrong = next((key for key, sign, _ in pairs if not sign), None)
        if wrong is not None:
            raise UsageError(f"{wrong.strip()!r} is not a threshold; expected e.g. rank=1,percentile=99.9")
        return {key.strip(): number.strip() for key, _, number in pairs}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Of several backbones: a picture is as good as in the one in which it is worst."""
    return max(verdicts, key=VERDICTS.index, default="failed")
