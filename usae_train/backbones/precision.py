"""What backbones can be asked to compute in; no torch, for command lines read it."""

from __future__ import annotations

from typing import Literal, get_args

RunIn = Literal["auto", "float32", "bfloat16"]  # what backbones can be asked to run in


DTYPES: tuple[str, ...] = get_args(RunIn)
