"""A command's options from its settings class, which alone has names, types, defaults and help; former names."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from inspect import Parameter
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from usae_train.runtime.printing import say
from usae_train.runtime.terminal import wrong_usage

Command = Callable[..., None]
Completion = Callable[..., list[str]]
CONTEXT = Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)  # typer's own, no option


def takes_settings(
    model: type[BaseModel],
    leave_out: Collection[str] = (),
    defaults: Mapping[str, Any] | None = None,
    *,
    ranges: bool = True,
    completions: Mapping[str, Completion] | None = None,
) -> Callable[[Command], Command]:
    """Give a command an option for each field of its settings class.

    A command with a parameter of that class is given them checked; what is wrong then is wrong usage, status 2. Another
    takes them as `**settings`, and is given those alone that stand on the command line: the others are the class's to
    say. Of several such decorators the lowest is the one of `**settings`.

    A field's `json_schema_extra` may say `short`, its short form, and `option`, where that is not the field's name.

    Args:
        model: the settings; `FORMER`, where it has one, names options of earlier versions, which still work.
        leave_out: fields that are not options.
        defaults: what to show and take for fields whose default depends on another setting.
        ranges: whether typer refuses what is out of range, and --help shows it; else the class does, in its own words.
        completions: {field: what a shell offers for it}.
    """
    defaults, completions = defaults or {}, completions or {}
    check: Callable[..., BaseModel] = getattr(model, "checked", model)
    fields = {name: field for name, field in model.model_fields.items() if name not in leave_out}
    former = {old: name for old, name in getattr(model, "FORMER", {}).items() if name in fields}
    options = [
        _option(name, field, defaults.get(name, field.default), ranges, completions.get(name))
        for name, field in fields.items()
    ]

    def decorate(command: Command) -> Command:
        parameters = [each for each in _parameters(command) if each.kind is not Parameter.VAR_KEYWORD]
        checked = next((each.name for each in parameters if each.annotation is model), None)
        asks = any(each.name == CONTEXT.name for each in parameters)

        @functools.wraps(command)
        def with_settings(context: typer.Context, **arguments: Any) -> None:
            values = {name: arguments.pop(name) for name in fields}
            typed = {name: value for name, value in values.items() if is_given(context, name)}
            if checked is not None:
                with wrong_usage():
                    arguments[checked] = check(**typed)
                typed = {}
            command(**arguments, **typed, **({CONTEXT.name: context} if asks else {}))

        others = [each for each in parameters if each.name not in (checked, CONTEXT.name)]
        return knows_former(former)(_signed(with_settings, [CONTEXT, *others, *options]))

    return decorate


def knows_former(former: Mapping[str, str]) -> Callable[[Command], Command]:
    """Let a command take options by names of earlier versions too, with a line that says today's.

    Args:
        former: {former parameter: today's}.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_todays_names(context: typer.Context, **arguments: Any) -> None:
            for old, name in former.items():
                value = arguments.pop(old)
                source = context.get_parameter_source(old)
                if source is None or not is_given(context, old):
                    continue
                if is_given(context, name):
                    raise typer.BadParameter(f"{_dashed(old)} is the former name of {_dashed(name)}; give one of them")
                say(f"warning: {_dashed(old)} is called {_dashed(name)} now; write {_dashed(name)}", err=True)
                context.set_parameter_source(name, source)
                arguments[name] = value
            if missing := [_dashed(name) for name in required if arguments[name] is None]:
                raise typer.BadParameter(f"Missing option {missing[0]!r}.")
            command(context=context, **arguments) if asks else command(**arguments)

        parameters = {each.name: each for each in _parameters(command)}
        asks = parameters.pop(CONTEXT.name, None) is not None
        hidden = [_hidden(old, parameters[name]) for old, name in former.items()]
        required = {name for name in former.values() if parameters[name].default is Parameter.empty}
        # it may be given by its former name
        parameters |= {name: _may_be_missing(parameters[name]) for name in required}
        return _signed(with_todays_names, [CONTEXT, *parameters.values(), *hidden])

    return decorate


def _option(name: str, field: FieldInfo, default: Any, ranges: bool, completion: Completion | None) -> Parameter:
    kind = _option_type(field.annotation)
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    words = [str(extra.get("option", _dashed(name))), *([str(extra["short"])] if "short" in extra else [])]
    least, most = (_bound(field, word) if ranges else None for word in ("ge", "le"))
    option = typer.Option(*words, help=_help(field), min=least, max=most, autocompletion=completion)
    if not isinstance(default, bool | int | float | str):
        default, kind = None, kind | None
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _bound(field: FieldInfo, word: str) -> float | None:
    return next((getattr(each, word) for each in field.metadata if hasattr(each, word)), None)


def _hidden(name: str, today: Parameter) -> Parameter:
    annotation = today.annotation
    kind = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    kind = kind if kind is bool else kind | None
    default = False if kind is bool else None
    words = [word for each in get_args(annotation)[1:] for word in getattr(each, "param_decls", None) or ()]
    option = typer.Option(_dashed(name), hidden=True, help=next(iter(words), _dashed(today.name)))  # what it is now
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _may_be_missing(option: Parameter) -> Parameter:
    kind, option_info = get_args(option.annotation)
    return option.replace(default=None, annotation=Annotated[kind | None, option_info])


def _option_type(annotation: Any) -> Any:
    """What the command line makes of a field's text: a number, a flag, a path, or text for the settings to judge."""
    if get_origin(annotation) in (Union, UnionType):
        return _option_type(next(part for part in get_args(annotation) if part is not type(None)))
    if get_origin(annotation) in (list, tuple):
        return list[str]
    return annotation if annotation in (bool, int, float, Path) else str


def _help(field: FieldInfo) -> str:
    """A field's description, as a sentence; what is one already stays."""
    sentence = field.description or ""
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    if not all(choice in sentence for choice in choices):
        *first_choices, last_choice = (f"`{choice}`" for choice in choices)
        sentence = f"{sentence}: {', '.join(first_choices)} or {last_choice}"
    return sentence if sentence.endswith(".") else f"{sentence[:1].upper()}{sentence[1:]}."


def _dashed(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def is_given(context: typer.Context, name: str) -> bool:
    """Whether a parameter was typed, or is its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"  # its class is click's, or the copy that typer has of it


def refuse_beside(context: typer.Context, word: str, with_effect: Collection[str]) -> None:
    """Refuse, as wrong usage, what is typed and does nothing beside an option.

    Args:
        context: the command's.
        word: the option, such as `--dtype`.
        with_effect: the parameters that do something beside it.
    """
    typed = [
        each.opts[0] if each.opts[0].startswith("-") else (each.metavar or str(each.name).upper())
        for each in context.command.params
        if each.name not in with_effect and not getattr(each, "hidden", False) and is_given(context, str(each.name))
    ]
    if typed:
        raise typer.BadParameter(f"{', '.join(typed)} would do nothing beside {word}; leave out one or the other")


def _parameters(command: Command) -> list[Parameter]:
    return list(inspect.signature(command, eval_str=True).parameters.values())


def _signed(command: Command, parameters: list[Parameter]) -> Command:
    """A command that says it has these parameters, as typer asks."""
    keyword = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in parameters]
    command.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in keyword}
    return command
