"""What both command lines have alike: `-h`, `--version`, shell completion, and no traceback in colours."""

from typing import Annotated

import typer

from usae_train.runtime.printing import say


def command_app(name: str, purpose: str) -> typer.Typer:
    """A command line without commands yet.

    Args:
        name: what is typed, such as `usae-viz`.
        purpose: the sentence above the commands in --help.
    """
    app = typer.Typer(
        name=name,
        help=purpose,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def tell(asked: bool) -> None:
        if asked:
            say(version_line(name))
            raise typer.Exit

    @app.callback()
    def of_all_commands(
        version: Annotated[
            bool, typer.Option("--version", callback=tell, is_eager=True, help="Print the versions and exit.")
        ] = False,
    ) -> None:
        """Options that stand before a command."""

    return app


def version_line(name: str) -> str:
    """What a report of a fault should begin with: our version and those that decide what comes out."""
    from usae_train.files.provenance import versions

    found = versions()
    others = ", ".join(f"{package} {version}" for package, version in found.items() if package != "usae")
    return f"{name} {found['usae']} ({others})"
