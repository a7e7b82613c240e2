"""Arguments and options of several commands of `usae-train` that are no settings: Python has none of them."""

from pathlib import Path
from typing import Annotated

import typer

from usae_train.training.settings import DEFAULT

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must not exist, or be empty.")]
Resume = Annotated[bool, typer.Option("--resume", help="Resume a training that was stopped.")]
Usae = Annotated[str, typer.Argument(help="`demo`, `photos`, a USAE folder or a hub id.")]
SOURCES = "a folder, `shards/{000..009}.tar[:FIELD]`, `hf:NAME[:SPLIT[:COLUMN]]`, or `demo`"
TOKENS = "paired tokens (`NAME=FILE.npy,NAME=FILE.npy`, .safetensors, saev's shards)"
RECIPE_DEFAULTS = {"recipe": DEFAULT.name, "batch": None}  # the recipe is named; the batch is its to say
Images = Annotated[str, typer.Argument(help=f"Pictures: {SOURCES}.")]
