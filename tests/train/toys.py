"""Tokens and settings that a training takes a moment for."""

from pathlib import Path

import torch

from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.settings import FitSettings, TrainingRecipe

WIDTHS = {"a": 6, "b": 5, "c": 7}
SMALL = ["--n-concepts", "6", "-k", "2", "--steps", "3", "--batch", "8", "--device", "cpu"]  # of `fit`


class AfterEach(TrainingCheckpointer):
    """Writes a state after each step."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        super().__init__(folder, minutes=0, keep=keep)


def toy_tokens(rows: int = 64) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {name: torch.randn(rows, width, generator=generator) + 1 for name, width in WIDTHS.items()}


def toy_settings(recipe: TrainingRecipe, **changes: int) -> FitSettings:
    return FitSettings(**{"n_concepts": 12, "k": 3, "steps": 1, "batch": 32, "recipe": recipe, **changes})  # type: ignore[arg-type]
