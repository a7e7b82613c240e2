"""`usae-viz`: the command line. Everything heavy is imported inside the commands, so that --help stays quick."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from usae_train.terminal import one_line_errors, pick_device, progress_bars, stages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from usae_train.usae import USAE
    from usae_viz.settings import MaximizeSettings

app = typer.Typer(
    name="usae-viz", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Draw universal concepts as each vision backbone sees them: coordinated activation maximization.",
)  # fmt: skip

UsaeId = Annotated[str, typer.Option("--usae", help="`demo`, a USAE folder or a hub id.")]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Run folder; outputs/ and a name of its own unless told.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...; auto takes a GPU where there is one.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def maximize(
    concept: Annotated[
        str,
        typer.Option(
            "--concept",
            "-c",
            help="An index, several with commas, `top:8` for the most universal, or a label such as `red`.",
        ),
    ],
    usae: UsaeId = "demo",
    mode: Annotated[
        str, typer.Option(help="`per-model`: a picture a backbone; `shared`: one for all, their gradients balanced.")
    ] = "per-model",
    image: Annotated[str, typer.Option(help="Parameterization: `fourier`, `maco` or `pixel`.")] = "fourier",
    size: Annotated[
        int | None, typer.Option(help="Side of the canvas in pixels; the backbones' largest input size unless told.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 128,
    crops: Annotated[int, typer.Option(help="Augmented views a step.")] = 6,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's; the parameterization's own unless told.")] = None,
    augmentation: Annotated[str, typer.Option(help="`default`, `maco`, `lucid` or `none`.")] = "default",
    out: Out = None,
    device: Device = "auto",
    spectrum: Annotated[
        str | None, typer.Option(help="For maco: a file of usae-train spectrum; the packaged one unless told.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="What the backbones run in: `float32` or `bfloat16`.")] = "float32",
    seed: Annotated[int, typer.Option(help="Decides the start and the augmentation draws.")] = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Draw a concept through every backbone, verify the pictures, and write PNGs, a sheet and the scores."""
    with one_line_errors():
        from usae_train.settings import check_settings
        from usae_viz.settings import MaximizeSettings

        settings = check_settings(
            MaximizeSettings, mode=mode, image=image, size=size, steps=steps, crops=crops, learning_rate=learning_rate,
            augmentation=augmentation, spectrum=spectrum, dtype=dtype, seed=seed,
        )  # fmt: skip
        _render(_load(usae, device), [concept], [settings], out, quiet, as_json)


@app.command()
def render(
    recipe: Annotated[str, typer.Argument(help="A recipe, such as recipes/first-look.yaml.")],
    out: Out = None,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Draw what a recipe says: concepts x modes x seeds, one folder a concept."""
    with one_line_errors():
        from usae_viz.recipe import read_recipe

        chosen = read_recipe(recipe)
        out = out or _new_run(Path(recipe).stem)
        _render(_load(chosen.usae, device), [str(c) for c in chosen.concepts], list(chosen.runs()), out, quiet, as_json)


@app.command()
def concepts(
    usae: UsaeId = "demo",
    sort: Annotated[str, typer.Option(help="universality, energy, entropy, fires, auroc or index.")] = "universality",
    limit: Annotated[int | None, typer.Option(min=1, help="Rows to print; all with --json unless told.")] = None,
    as_json: AsJson = False,
) -> None:
    """List concepts: universality, firing entropy, energy, firing share a backbone, and the factor each follows best.

    Universality is the smallest, over the backbones, of the share of a concept's fires at which all backbones fire.
    """
    with one_line_errors():
        from usae_train.checkpoint import load
        from usae_viz.concepts import concept_rows

        model = load(usae)
        rows = concept_rows(model, sort, limit or (None if as_json else 30))  # type: ignore[arg-type]
        if as_json:
            typer.echo(json.dumps([row.as_dict() for row in rows], indent=1))
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for heading in ("concept", "universal", "entropy", "energy", *model.names):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("follows")
        for row in rows:
            followed = "" if row.follows is None else f"{row.follows.value} ({row.follows.auroc:.2f})"
            shares = [f"{share:.1%}" for share in row.firing_share]
            table.add_row(
                str(row.concept),
                f"{row.universality:.2f}",
                "" if row.entropy is None else f"{row.entropy:.2f}",
                f"{row.energy:.4f}",
                *shares,
                followed,
            )
        typer.echo(f"{usae}: {len(rows)} of {model.n_concepts} concepts by {sort}")
        Console().print(table)
        typer.echo("below a backbone's name: share of the tokens in which the concept fires; follows: patch AUROC")


def _load(usae: str, device: str) -> USAE:
    from usae_train.checkpoint import load

    return load(usae, pick_device(device))


def _render(
    usae: USAE, texts: Sequence[str], runs: Sequence[MaximizeSettings], out: Path | None, quiet: bool, as_json: bool
) -> None:
    from rich.console import Console

    from usae_viz.concepts import parse_concepts
    from usae_viz.render import render as render_all

    chosen = list(dict.fromkeys(concept for text in texts for concept in parse_concepts(usae, text)))
    out = out or _new_run("maximize")
    console = Console()
    with progress_bars(quiet) as progress:
        speak = (lambda scores: None) if quiet or as_json else lambda scores: console.print(scores)
        verified = render_all(usae, chosen, runs, out, stages(progress), speak)
    if as_json:
        typer.echo(
            json.dumps({"out": str(out), "concepts": [scores.as_dict() for scores in verified.values()]}, indent=1)
        )
    elif not quiet:
        failed = sum(not scores.fired(image) for scores in verified.values() for image in scores.table)
        pictures = sum(len(scores.table) for scores in verified.values())
        console.print(
            f"{out}: {pictures} pictures" + (f", {failed} of which do not fire their concept" if failed else ""),
            highlight=False,
        )


def _new_run(name: str) -> Path:
    """A folder below outputs/ that no run has yet."""
    stamp = datetime.now().strftime("%Y-%m-%d-%H%M%S")
    first = Path("outputs") / f"{name}-{stamp}"
    number = 1
    while (folder := first if number == 1 else first.with_name(f"{first.name}-{number}")).exists():
        number += 1
    return folder


def main() -> None:
    """Entry point."""
    app()
