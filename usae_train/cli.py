"""`usae-train`: the command line. Everything heavy is imported inside the commands, so that --help stays quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from usae_train.terminal import one_line_errors, pick_device, progress_bars, stages

app = typer.Typer(
    name="usae-train", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Make universal sparse autoencoders: one sparse concept space for several vision backbones.",
)  # fmt: skip

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must not exist, or be empty.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...; auto takes a GPU where there is one.")]
Seed = Annotated[int, typer.Option(min=0, help="Decides every random draw.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")]


@app.callback()
def _main() -> None:
    """Keeps the commands as subcommands."""


@app.command()
def fit(
    images: Annotated[str, typer.Argument(help="A folder of pictures, or `demo`.")],
    out: Out,
    backbones: Annotated[
        str, typer.Option(help="`paper`, `demo`, a YAML of specs, or timm ids with commas.")
    ] = "paper",
    recipe: Annotated[str, typer.Option(help="`default`, or `published`: as the authors' code does it.")] = "default",
    n_concepts: Annotated[int, typer.Option("--n-concepts", help="Size of the concept space.")] = 6144,
    k: Annotated[int, typer.Option("--k", "-k", help="Concepts kept a token.")] = 32,
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 10_000,
    batch: Annotated[
        int | None, typer.Option(help="Tokens a step; the recipe's own (4096, published 6272) unless told.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Take at most so many pictures.", min=1)] = None,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Train a USAE on pictures seen by several backbones, and write it with its statistics."""
    with one_line_errors():
        from usae_train.checkpoint import check_free, save
        from usae_train.config_files import read_specs
        from usae_train.fitting import Watch, fit_pictures, fit_settings
        from usae_train.images import open_images

        check_free(out)
        settings = fit_settings(recipe, n_concepts=n_concepts, k=k, steps=steps, batch=batch, seed=seed)
        source = open_images(images, limit)
        specs = read_specs(backbones)
        with progress_bars(quiet) as progress:
            report = stages(progress)
            watch = Watch(
                pictures=lambda done, total: report("pictures", done, total, ""),
                steps=lambda step, figures: report("training", step, settings.steps, f"loss {figures['loss']:.4f}"),
                failure=lambda why: typer.echo(f"skipped: {why}", err=True),
            )
            usae = fit_pictures(source, settings, specs, pick_device(device), watch)
        save(usae, out)
        if not quiet:
            typer.echo(f"{out}: {usae.n_concepts} concepts over {', '.join(usae.names)}")


@app.command("import-published")
def import_published(
    config: Annotated[Path, typer.Argument(help="The YAML of the authors' release, beside its checkpoints.")],
    out: Out,
    quiet: Quiet = False,
) -> None:
    """Convert the authors' release (a YAML and a .pth file a backbone) to a USAE folder."""
    with one_line_errors():
        from usae_train.checkpoint import check_free, save
        from usae_train.published import import_published as convert

        check_free(out)
        usae = convert(config)
        save(usae, out)
        if not quiet:
            typer.echo(f"{out}: {usae.n_concepts} concepts over {', '.join(usae.names)}")


@app.command()
def spectrum(
    images: Annotated[str, typer.Argument(help="A folder of pictures, or `demo`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write (.safetensors).")],
    size: Annotated[int, typer.Option(min=16, max=2048, help="Side in pixels that pictures are read at.")] = 96,
    limit: Annotated[int | None, typer.Option(help="Take at most so many pictures.", min=1)] = None,
    quiet: Quiet = False,
) -> None:
    """Measure the mean Fourier magnitude of pictures, for MACO."""
    with one_line_errors():
        from usae_train.images import open_images
        from usae_train.spectrum import mean_magnitude, save_spectrum

        source = open_images(images, limit)
        with progress_bars(quiet) as progress:
            report = stages(progress)
            magnitude = mean_magnitude(source, size, lambda done, total: report("pictures", done, total, ""))
        save_spectrum(magnitude, out, source)


@app.command()
def demo(
    out: Out,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Rebuild the demo universe: its backbones, its USAE, its statistics (on 2 cores about three hours, estimated).

    A build that was stopped goes on where it was when the same command is given again.
    """
    with one_line_errors():
        from usae_train.demo.build import build

        with progress_bars(quiet) as progress:
            build(out, seed, pick_device(device), stages(progress))
        if not quiet:
            typer.echo(f"{out}: the demo universe")


def main() -> None:
    """Entry point."""
    app()
