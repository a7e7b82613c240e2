"""`usae-train import-sae` and `export-sae`: sparse autoencoders of other libraries, from and to their files."""

from __future__ import annotations

from typing import Annotated

import typer

from usae_train.commands.options import Out, Quiet
from usae_train.printing import say
from usae_train.terminal import one_line_errors


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("import-sae")(import_sae)
    app.command("export-sae")(export_sae)


def import_sae(
    place: Annotated[str, typer.Argument(help="The autoencoder's folder or file.")],
    out: Out,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="What it was trained on: a timm id, or a YAML of one spec with a name, which says the layer. Without "
            "one the USAE serves bare activations."
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="`saelens`, `sparsify`, `saev`, `overcomplete`, `dictionary_learning` or `prisma`. [the files tell]"
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What to call the backbone. [the YAML's name, or the id without tag]")
    ] = None,
    k: Annotated[
        int | None, typer.Option("--k", "-k", min=1, help="Concepts active a token, where the file does not say.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="What a pre-code must exceed, where the file does not say.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Convert a sparse autoencoder of another library to a USAE folder of one backbone.

    Codes and decoded tokens are the same; what cannot be reproduced exactly is refused, and nothing in a file is run.
    """
    with one_line_errors(quiet):
        from usae_train.commands.config_files import read_specs
        from usae_train.model.checkpoint import check_free, save
        from usae_train.sae_formats.formats import import_autoencoder

        check_free(out)
        specs = {} if backbone is None else read_specs(backbone)
        if len(specs) > 1:
            raise ValueError(f"--backbone names {len(specs)} backbones: {', '.join(specs)}; an autoencoder has one")
        own_name, spec = next(iter(specs.items()), (None, None))
        sae, usae = import_autoencoder(place, spec, format=format, name=name or own_name, k=k, threshold=threshold)
        save(usae, out)
        if not quiet:
            active = usae.sparsity.in_words(usae.k)
            say(f"{out}: {usae.n_concepts} concepts of {usae.names[0]}, {active}; {usae.recipe}")
            for note in sae.notes:
                say(note)


def export_sae(
    usae: Annotated[str, typer.Argument(help="`demo`, `photos`, a USAE folder or a hub id.")],
    out: Out,
    format: Annotated[str, typer.Option(help="`saelens` or `sparsify`.")] = "saelens",
    backbone: Annotated[
        str | None, typer.Option(help="Whose encoder and dictionary to write. [the only one; of several none]")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write one backbone of a USAE as a sparse autoencoder of another library.

    Standardization and BatchNorm are folded into it: it takes and gives raw tokens, on the USAE's common grid.
    """
    with one_line_errors(quiet):
        from usae_train.model.checkpoint import load
        from usae_train.sae_formats.formats import export_sae as write

        loaded = load(usae)
        if backbone is None and len(loaded.names) > 1:
            raise ValueError(f"{usae} has {', '.join(loaded.names)}; say whose to write with --backbone")
        own = backbone or loaded.names[0]
        write(loaded, own, out, format)
        if not quiet:
            say(f"{out}: {loaded.n_concepts} concepts of {own}, {format}")
