"""Arguments and options that several commands of `usae-train` have."""

from pathlib import Path
from typing import Annotated

import typer

from usae_train.runtime.shortage import MAX_COUNT

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must not exist, or be empty.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...; auto takes a GPU where there is one.")]
Dtype = Annotated[
    str, typer.Option(help="What the backbones run in: `float32` or `bfloat16`; auto: bfloat16 on a GPU, else float32.")
]
Seed = Annotated[int, typer.Option(min=0, help="Decides every random draw, but for what a --init-seed does.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")]
Backbones = Annotated[str, typer.Option(help="`paper`, `demo`, `photos`, a YAML of specs, or timm ids with commas.")]
Limit = Annotated[
    int | None,
    typer.Option(help="Take at most so many pictures, drawn from all, the same ones each time.", min=1, max=MAX_COUNT),
]
LabelColumn = Annotated[
    str | None,
    typer.Option(help="Of a dataset, the column that says each picture's class; by default the only one of classes."),
]
MaxBroken = Annotated[
    float, typer.Option(min=0, max=1, help="Largest share of the pictures that may be unreadable before it stops.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a training that was stopped.")]
CheckpointMinutes = Annotated[float, typer.Option(min=0, help="Minutes between two training states.")]
KeepCheckpoints = Annotated[int, typer.Option(min=1, help="How many training states are kept; older ones are removed.")]
LogEvery = Annotated[
    int | None,
    typer.Option(min=1, help="Steps between two lines of metrics.jsonl; a hundredth of the training by default."),
]
SOURCES = "a folder, `shards/{000..009}.tar[:FIELD]`, `hf:NAME[:SPLIT[:COLUMN]]`, or `demo`"
TOKENS = "paired tokens (`NAME=FILE.npy,NAME=FILE.npy`, .safetensors, saev's shards)"
Images = Annotated[str, typer.Argument(help=f"Pictures: {SOURCES}.")]
