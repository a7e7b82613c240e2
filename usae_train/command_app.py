"""What both command lines have alike: `-h`, `--version`, shell completion, and no traceback in colours."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from usae_train.files.wording import expectation, short
from usae_train.runtime.printing import say


class _InOurWords(TyperGroup):
    """A command line that says in our words what it expected of an option's text, which typer lets pydantic read."""

    def invoke(self, ctx: Any) -> Any:
        """As typer's."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if (
                found := getattr(error.__cause__, "errors", None)
            ) is not None:  # pydantic's, which is not imported here
                first = found()[0]
                error.message = f"{expectation(first)}, found {short(first['input'])}"
            raise


def command_app(name: str, purpose: str) -> typer.Typer:
    """A command line without commands yet.

    Args:
        name: what is typed, such as `usae-viz`.
        purpose: the sentence above the commands in --help.
    """
    app = typer.Typer(
        name=name,
        cls=_InOurWords,
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
