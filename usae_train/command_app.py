"""What both command lines have alike: `-h`, `--version`, shell completion, and wrong usage in one line."""

from itertools import pairwise
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from usae_train.files.wording import expectation, shorten
from usae_train.runtime.printing import say, say_error


class _OneLineUsageErrors(TyperGroup):
    """A command line that reports wrong usage as it does any error: in one line, in our words, with status 2."""

    def main(
        self,
        args: Any = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """As typer's, without the box that it draws around an error."""
        try:
            status = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
            if not standalone_mode:
                return status
        except Exception as error:
            usage: Any = error
            if not standalone_mode or not hasattr(usage, "format_message"):  # typer's, which exports no class of them
                raise
            if type(usage).__name__ != "NoArgsIsHelpError":  # the help was printed
                say_error(_usage_line(usage))
            raise SystemExit(usage.exit_code) from None
        raise SystemExit(status or 0)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer's; an empty word means nothing: it is what an unset variable of the shell leaves."""
        typed = [] if ctx.resilient_parsing else ["", *args]  # a shell that completes a word asks of unfinished ones
        for before, word in pairwise(typed):
            if not word or (word.startswith("--") and word.partition("=")[1:] == ("=", "")):
                after = word.rstrip("=") or before
                raise typer.BadParameter(f"an empty word{f' after {after}' if after else ''}; expected a value", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """As typer's."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            # pydantic's, which is not imported here
            if (errors := getattr(error.__cause__, "errors", None)) is not None:
                first = errors()[0]
                error.message = f"{expectation(first)}, found {shorten(first['input'])}"
            raise


def _usage_line(error: Any) -> str:
    """One line of what typer found wrong, with the command whose help says more."""
    context = getattr(error, "ctx", None)
    if context and getattr(error, "possibilities", None):  # former names work, and are not what to learn: today's are
        hidden = [each for each in context.command.params if getattr(each, "hidden", False)]
        todays = {name: each.help for each in hidden for name in each.opts}
        error.possibilities = sorted({name for each in error.possibilities if (name := todays.get(each, each))})
    line: str = error.format_message().removeprefix("Invalid value: ").rstrip(".")
    if line[1:2].islower():  # a sentence's first letter, not that of a name such as RECIPE
        line = line[0].lower() + line[1:]
    return line + (f"; see `{context.command_path} -h`" if context else "")


def command_app(name: str, purpose: str) -> typer.Typer:
    """A command line without commands yet.

    Args:
        name: what is typed, such as `usae-viz`.
        purpose: the sentence above the commands in --help.
    """
    app = typer.Typer(
        name=name,
        cls=_OneLineUsageErrors,
        help=purpose,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def tell(show_version: bool) -> None:
        if show_version:
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

    package_versions = versions()
    others = ", ".join(f"{package} {version}" for package, version in package_versions.items() if package != "usae")
    return f"{name} {package_versions['usae']} ({others})"
