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


Backbones = Annotated[str, typer.Option(help="`paper`, `demo`, a YAML of specs, or timm ids with commas.")]
Limit = Annotated[int | None, typer.Option(help="Take at most so many pictures.", min=1)]
Images = Annotated[str, typer.Argument(help="A folder of pictures, or `demo`.")]


@app.command()
def extract(
    images: Images,
    out: Annotated[Path, typer.Option("--out", "-o", help="The store; one that was stopped is gone on with.")],
    backbones: Backbones = "paper",
    dtype: Annotated[
        str, typer.Option(help="What tokens are kept in: `bfloat16`, `float16` or `float32`.")
    ] = "bfloat16",
    run_in: Annotated[
        str, typer.Option(help="What the backbones run in: `float32`, `bfloat16`; auto: bfloat16 on a GPU.")
    ] = "auto",
    batch: Annotated[int, typer.Option(min=1, help="Pictures a forward pass.")] = 32,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pictures; 0 reads in this one.")] = 0,
    max_broken: Annotated[
        float, typer.Option(min=0, max=1, help="Largest share of the pictures that may be unreadable.")
    ] = 0.01,
    limit: Limit = None,
    verify: Annotated[bool, typer.Option("--verify", help="Only compare the checksums of a finished store.")] = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Write an activation store: every picture through every backbone, once, in shards with checksums.

    A store that was stopped is gone on with when the same command is given again.
    """
    with one_line_errors():
        import torch

        from usae_train.config_files import read_specs
        from usae_train.extract import extract as write_store
        from usae_train.extract import plan
        from usae_train.images import open_images
        from usae_train.store import ActivationStore

        if verify:
            right = list(ActivationStore(out).verify())
            typer.echo(f"{out}: {len(right)} shards, all checksums right")
            return
        if dtype not in ("bfloat16", "float16", "float32"):
            raise typer.BadParameter(f"--dtype is {dtype!r}; expected bfloat16, float16 or float32")
        if run_in not in ("auto", "float32", "bfloat16"):
            raise typer.BadParameter(f"--run-in is {run_in!r}; expected auto, float32 or bfloat16")
        where = pick_device(device)
        half = run_in == "bfloat16" or (run_in == "auto" and where != "cpu")
        source = open_images(images, limit)
        record, gigabytes = plan(source, read_specs(backbones), dtype)
        if not quiet:
            typer.echo(f"{out}: {len(source)} pictures will take {gigabytes:.3g} GB")
        with progress_bars(quiet) as progress:
            report = stages(progress)
            store = write_store(
                source, record, out, batch=batch, device=where, run_in=torch.bfloat16 if half else torch.float32,
                workers=workers, max_broken=max_broken,
                progress=lambda done, total: report("pictures", done, total, ""),
            )  # fmt: skip
        if not quiet:
            left_out = f", {len(store.failures())} could not be read" if store.failures() else ""
            typer.echo(f"{out}: {len(store)} pictures in {len(store.record.shards)} shards{left_out}")


@app.command()
def fit(
    images: Annotated[str, typer.Argument(help="A folder of pictures, an activation store, or `demo`.")],
    out: Out,
    backbones: Annotated[
        str | None,
        typer.Option(help="`paper`, `demo`, a YAML of specs, or timm ids with commas; a store has its own. [paper]"),
    ] = None,
    recipe: Annotated[str, typer.Option(help="`default`, or `published`: as the authors' code does it.")] = "default",
    n_concepts: Annotated[int, typer.Option("--n-concepts", help="Size of the concept space.")] = 6144,
    k: Annotated[int, typer.Option("--k", "-k", help="Concepts kept a token.")] = 32,
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 10_000,
    batch: Annotated[
        int | None, typer.Option(help="Tokens a step; the recipe's own (4096, published 6272) unless told.")
    ] = None,
    limit: Limit = None,
    memory: Annotated[
        float | None,
        typer.Option(help="GB of a store's tokens in memory at a time; a third of the machine's unless told."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training that was stopped.")] = False,
    every: Annotated[float, typer.Option(min=0, help="Minutes between two training states.")] = 10.0,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Train a USAE on pictures seen by several backbones, and write it with its statistics.

    Training states are kept beside the folder until it is finished; SIGTERM writes one and stops.
    """
    with one_line_errors():
        import shutil

        from usae_train.checkpoint import check_free, save
        from usae_train.config_files import read_specs
        from usae_train.fitting import Watch, fit_pictures, fit_settings, fit_store
        from usae_train.images import open_images
        from usae_train.keeping import Keeper, Stopped
        from usae_train.store import ActivationStore, is_store

        check_free(out)
        settings = fit_settings(recipe, n_concepts=n_concepts, k=k, steps=steps, batch=batch, seed=seed)
        room = out.with_name(f".{out.name}.training")
        if room.exists() and not resume:
            raise ValueError(f"a training that was stopped lies in {room}; give --resume to go on, or remove it")
        keeper = Keeper(room, every)
        with keeper.listening(), progress_bars(quiet) as progress:
            report = stages(progress)
            watch = Watch(
                pictures=lambda done, total: report("pictures", done, total, ""),
                steps=lambda step, figures: report("training", step, settings.steps, f"loss {figures['loss']:.4f}"),
                failure=lambda why: typer.echo(f"skipped: {why}", err=True),
            )
            try:
                if is_store(images):
                    if backbones is not None or limit is not None:
                        raise ValueError(f"{images} is a store, with backbones and pictures of its own")
                    usae = fit_store(ActivationStore(images), settings, pick_device(device), watch, keeper, memory)
                else:
                    specs = read_specs(backbones or "paper")
                    source = open_images(images, limit)
                    usae = fit_pictures(source, settings, specs, pick_device(device), watch, keeper)
            except Stopped as stopped:
                typer.echo(str(stopped), err=True)
                raise SystemExit(143) from None
        save(usae, out)
        shutil.rmtree(room, ignore_errors=True)
        if not quiet:
            typer.echo(f"{out}: {usae.n_concepts} concepts over {', '.join(usae.names)}")


@app.command()
def evaluate(
    usae: Annotated[str, typer.Argument(help="`demo`, a USAE folder or a hub id.")],
    images: Annotated[str, typer.Argument(help="Pictures it was not trained on: a folder, `demo` or `demo:test`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for report.json and index.html.")],
    batch: Annotated[int, typer.Option(min=1, help="Pictures a forward pass.")] = 32,
    limit: Limit = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Measure a USAE on pictures, and write a report: what is shared, what is dead, what follows the truth."""
    with one_line_errors():
        from usae_train.atomic import check_writable
        from usae_train.checkpoint import load
        from usae_train.evaluate import evaluate as measure
        from usae_train.images import open_images
        from usae_train.report import write_report

        check_writable(out / "report.json")
        model = load(usae, pick_device(device))
        source = open_images(images, limit)
        with progress_bars(quiet) as progress:
            report = stages(progress)
            figures, _ = measure(model, source, batch, lambda stage, done, total: report(stage, done, total, ""))
        write_report(figures, out)
        if not quiet:
            summary = figures["r2_summary"]
            cross = (
                "" if summary["ratio"] is None else f", off it {summary['off_diagonal']:.3f} ({summary['ratio']:.0%})"
            )
            typer.echo(f"{out}: R² on the diagonal {summary['diagonal']:.3f}{cross}")
            for line in figures["warnings"]:
                typer.echo(f"warning: {line}", err=True)


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
    images: Images,
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
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Backbones trained at the same time; one a core unless told, on a GPU one."),
    ] = None,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Rebuild the demo universe: its backbones, its USAE, its statistics (on 2 cores about two hours, estimated).

    A build that was stopped goes on where it was when the same command is given again.
    """
    with one_line_errors():
        from usae_train.demo.build import build

        with progress_bars(quiet) as progress:
            build(out, seed, pick_device(device), stages(progress), workers)
        if not quiet:
            typer.echo(f"{out}: the demo universe")


def main() -> None:
    """Entry point."""
    app()
