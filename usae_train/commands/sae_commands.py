"""`usae-train import-sae` and `export-sae`: sparse autoencoders of other libraries, from and to their files."""

from __future__ import annotations

from typing import Annotated

import typer

from usae_train.commands.options import Out, Usae
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import say
from usae_train.runtime.settings_options import takes_settings
from usae_train.runtime.shared_options import Quiet
from usae_train.runtime.terminal import one_line_errors
from usae_train.sae_formats.settings import ExportSettings, ImportSettings


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("import-sae")(import_sae)
    app.command("export-sae")(export_sae)


@takes_settings(ImportSettings)
def import_sae(
    place: Annotated[str, typer.Argument(help="The autoencoder's folder or file.")],
    out: Out,
    settings: ImportSettings,
    quiet: Quiet = False,
) -> None:
    """Convert a sparse autoencoder of another library to a USAE folder of one backbone.

    Codes and decoded tokens are the same; what cannot be reproduced exactly is refused, and nothing in a file is run.
    """
    with one_line_errors(quiet):
        from usae_train.model.checkpoint import check_free, save
        from usae_train.model.spec_files import read_specs
        from usae_train.sae_formats.formats import import_autoencoder

        check_free(out)
        specs = {} if settings.backbone is None else read_specs(settings.backbone)
        if len(specs) > 1:
            raise UsageError(f"--backbone names {len(specs)} backbones: {', '.join(specs)}; an autoencoder has one")
        own_name, spec = next(iter(specs.items()), (None, None))
        sae, usae = import_autoencoder(
            place,
            spec,
            format=settings.format,
            name=settings.name or own_name,
            k=settings.k,
            threshold=settings.threshold,
        )
        save(usae, out)
        if not quiet:
            active = usae.sparsity.in_words(usae.k)
            say(f"{out}: {usae.n_concepts} concepts of {usae.names[0]}, {active}; {usae.recipe}")
            for note in sae.notes:
                say(note)


@takes_settings(ExportSettings)
def export_sae(
    usae: Usae,
    out: Out,
    settings: ExportSettings,
    quiet: Quiet = False,
) -> None:
    """Write one backbone of a USAE as a sparse autoencoder of another library.

    Standardization and BatchNorm are folded into it: it takes and gives raw tokens, on the USAE's common grid.
    """
    with one_line_errors(quiet):
        from usae_train.model.checkpoint import load
        from usae_train.sae_formats.formats import export_sae as write

        loaded = load(usae)
        if settings.backbone is None and len(loaded.names) > 1:
            raise UsageError(f"{usae} has {', '.join(loaded.names)}; say whose to write with --backbone")
        own = settings.backbone or loaded.names[0]
        write(loaded, own, out, settings.format)
        if not quiet:
            say(f"{out}: {loaded.n_concepts} concepts of {own}, {settings.format}")
