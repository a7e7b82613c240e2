"""Arguments and options of several commands of `usae-train` that are not settings: Python has none of them."""

from pathlib import Path
from typing import Annotated

import typer

from usae_train.training.settings import DEFAULT

SOURCES = "a folder, `shards/{000..009}.tar[:FIELD]`, `hf:NAME[:SPLIT[:COLUMN]]`, or `demo`"
DATA = (
    "an activation store, paired tokens (`NAME=FILE.npy,NAME=FILE.npy`, .safetensors, saev's shards), or pictures: "
    f"{SOURCES}."
)
RECIPE_DEFAULTS = {"recipe": DEFAULT.name, "batch": None}  # the recipe is named; the batch is its to say

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must not exist, or be empty.")]
Resume = Annotated[bool, typer.Option("--resume", help="Resume a training that was stopped.")]
Usae = Annotated[str, typer.Argument(help="`demo`, `photos`, a USAE folder or a hub id.")]
Images = Annotated[str, typer.Argument(help=f"Pictures: {SOURCES}.")]
TrainingData = Annotated[str, typer.Argument(help=f"What it is trained on: {DATA}")]

# of `fit` alone, which has many
Backbones = Annotated[
    str | None,
    typer.Option(
        help="`paper`, `demo`, `photos`, a YAML of specs, or comma-separated timm ids; paper by default; a store "
        "has its own."
    ),
]
VerifyChecksums = Annotated[
    bool, typer.Option("--verify-checksums", help="Compare a store's checksums first, which reads all of it once more.")
]
Independent = Annotated[
    bool,
    typer.Option(
        "--independent",
        help="Train an SAE per backbone instead of one USAE, each into a folder of --out; the same command resumes.",
    ),
]
TensorBoardFolder = Annotated[
    Path | None, typer.Option(help="Folder for TensorBoard's event files too; none by default.")
]
Wandb = Annotated[str | None, typer.Option(help="Project at Weights & Biases to log to as well; none by default.")]
