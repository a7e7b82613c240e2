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
        from usae_train.commands.early_checks import one_backbone
        from usae_train.files.atomic import check_free
        from usae_train.files.place_names import path_of_name

        check_free(out)
        if not path_of_name(place).exists():
            raise UsageError(f"no folder or file at {str(path_of_name(place))!r}")
        own_name, spec = None, None
        if settings.backbone is not None:
            own_name, spec = one_backbone(settings.backbone, "an autoencoder has one")
        from usae_train.model.checkpoint import save
        from usae_train.sae_formats.formats import import_autoencoder

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
        from usae_train.files.atomic import check_free
        from usae_train.model.outline import UsaeDescription, outline_here

        def check_backbone(description: UsaeDescription) -> None:
            if settings.backbone is not None:
                description.check_backbone(settings.backbone)
            elif len(description.names) > 1:
                raise UsageError(f"{usae} has {', '.join(description.names)}; say whose to write with --backbone")

        check_free(out)
        if (outline := outline_here(usae)) is not None:
            check_backbone(outline)
        from usae_train.model.checkpoint import load
        from usae_train.sae_formats.formats import export_sae as write

        loaded = load(usae)
        check_backbone(loaded)
        backbone = settings.backbone or loaded.names[0]
        write(loaded, backbone, out, settings.format)
        if not quiet:
            say(f"{out}: {loaded.n_concepts} concepts of {backbone}, {settings.format}")
