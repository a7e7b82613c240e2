"""A command's options from its settings class, where names, types, defaults and help are said once; former names."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from inspect import Parameter
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from usae_train.runtime.printing import say

Command = Callable[..., None]
CONTEXT = Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)  # typer's own, no option


def takes_settings(
    model: type[BaseModel], leave_out: Collection[str] = (), defaults: Mapping[str, Any] | None = None
) -> Callable[[Command], Command]:
    """Give a command an option for each field of its settings class.

    The command takes them as `**settings`, and is given those alone that stand on the command line: the others are the
    class's to say.

    Args:
        model: the settings; `FORMER`, where it has one, names options of earlier versions, which still work.
        leave_out: fields that are not options.
        defaults: what to show and take for fields whose default depends on another setting.
    """
    defaults = defaults or {}
    fields = {name: field for name, field in model.model_fields.items() if name not in leave_out}
    former = {old: name for old, name in getattr(model, "FORMER", {}).items() if name in fields}
    options = [_option(name, field, defaults.get(name, field.default)) for name, field in fields.items()]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def taken(context: typer.Context, **given: Any) -> None:
            unsaid = {name for name in fields if not is_given(context, name)}
            command(**{name: value for name, value in given.items() if name not in unsaid})

        own = [each for each in _parameters(command) if each.kind is not Parameter.VAR_KEYWORD]
        return knows_former(former)(_signed(taken, [CONTEXT, *own, *options]))

    return decorate


def knows_former(former: Mapping[str, str]) -> Callable[[Command], Command]:
    """Let a command take options by names of earlier versions too, with a line that says today's.

    Args:
        former: {former parameter: today's}.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def taken(context: typer.Context, **given: Any) -> None:
            for old, name in former.items():
                value = given.pop(old)
                source = context.get_parameter_source(old)
                if source is None or not is_given(context, old):
                    continue
                if is_given(context, name):
                    raise typer.BadParameter(f"{_dashed(old)} is the former name of {_dashed(name)}; give one of them")
                say(
                    f"warning: {_dashed(old)} is called {_dashed(name)} now; that name goes with the next version",
                    err=True,
                )
                context.set_parameter_source(name, source)
                given[name] = value
            command(context=context, **given) if asks else command(**given)

        own = {each.name: each for each in _parameters(command)}
        asks = own.pop(CONTEXT.name, None) is not None
        return _signed(taken, [CONTEXT, *own.values(), *(_hidden(old, own[name]) for old, name in former.items())])

    return decorate


def _option(name: str, field: FieldInfo, default: Any) -> Parameter:
    kind = _kind(field.annotation)
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    words = [_dashed(name), *([str(extra["short"])] if "short" in extra else [])]
    option = typer.Option(*words, help=_help(field))
    if not isinstance(default, bool | int | float | str):
        default, kind = None, kind | None
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _hidden(name: str, today: Parameter) -> Parameter:
    annotation = today.annotation
    kind = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    kind = kind if kind is bool else kind | None
    default = False if kind is bool else None
    option = typer.Option(_dashed(name), hidden=True)
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _kind(annotation: Any) -> Any:
    """What the command line makes of a field's text: a number, a flag, or text for the settings to judge."""
    if get_origin(annotation) in (Union, UnionType):
        return _kind(next(part for part in get_args(annotation) if part is not type(None)))
    return annotation if annotation in (bool, int, float) else str


def _help(field: FieldInfo) -> str:
    said = field.description or ""
    if get_origin(field.annotation) is Literal and "`" not in said:
        *some, last = (f"`{choice}`" for choice in get_args(field.annotation))
        said = f"{said}: {', '.join(some)} or {last}"
    return f"{said[:1].upper()}{said[1:]}."


def _dashed(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def is_given(context: typer.Context, name: str) -> bool:
    """Whether a parameter was typed, or is its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"  # its class is click's, or the copy that typer has of it


def _parameters(command: Command) -> list[Parameter]:
    return list(inspect.signature(command, eval_str=True).parameters.values())


def _signed(command: Command, parameters: list[Parameter]) -> Command:
    """A command that says it has these parameters, as typer asks."""
    keyword = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in parameters]
    command.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in keyword}
    return command
