"""What backbones can be asked to compute in; no torch, for command lines read it."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

ComputeDtype = Literal["auto", "float32", "bfloat16"]
DTYPES: tuple[str, ...] = get_args(ComputeDtype)
BackbonesDtype = Annotated[
    ComputeDtype,
    Field(description="what the backbones compute in: `float32` or `bfloat16`; auto: bfloat16 on a GPU, else float32"),
]
