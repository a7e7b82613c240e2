"""Settings that come by name and value: checked by pydantic, answered in one line; their former names still work."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from usae_train.files.whole_numbers import is_truth
from usae_train.files.wording import expectation, shorten
from usae_train.runtime.errors import UsageError
from usae_train.runtime.warning_kinds import FormerNameWarning

Checked = TypeVar("Checked", bound=BaseModel)


FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")]  # of a file or folder of ours


class FrozenModel(BaseModel):
    """A model that stays as it is made, and refuses fields that it does not have."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OneLineErrorModel(FrozenModel):
    """A frozen model that people make in Python: what is wrong in it is one line of error, as on the command line."""

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _refusal(type(self), error) from None
        _refuse_truth_values(self, values)

    # Within another model pydantic makes it itself, and names what is wrong there by its whole place.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(self)
        if kind.model_config.get("frozen") and name in kind.model_fields:
            raise AttributeError(
                f"{name} stays as it is; make others instead: {kind.__name__}({name}={shorten(value)})"
            )
        super().__setattr__(name, value)


class Settings(OneLineErrorModel):
    """Settings, which may be given by names that they had before, with a warning.

    Attributes:
        FORMER: {former name: today's}.
    """

    FORMER: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _former_names(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not cls.FORMER.keys() & values.keys():
            return values
        for former, name in cls.FORMER.items():
            if former in values and name in values:
                raise PydanticCustomError(
                    "both_names", "{why}", {"why": f"{former} is the former name of {name}; give {name} alone"}
                )
            if former in values:
                warnings.warn(f"{former} is called {name} now; write {name}", FormerNameWarning, 2)
        return by_todays_names(cls, values)


def by_todays_names(model: type[Settings], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a file of an earlier version, by the names that a model's fields have today; nobody is warned."""
    return {model.FORMER.get(name, name): value for name, value in values.items()}


def check_settings(model: type[Checked], /, **values: Any) -> Checked:
    """Check settings by name and value.

    Raises:
        ValueError: one line, with the nearest right name or what was expected.
    """
    try:
        settings = model(**values)
    except ValidationError as error:
        raise _refusal(model, error) from None
    _refuse_truth_values(settings, values)
    return settings


def _refusal(model: type[BaseModel], error: ValidationError) -> UsageError:
    """The first of what pydantic found wrong in values given by name."""
    first = error.errors()[0]
    message = expectation(first)
    if first["type"] == "both_names":
        return UsageError(message)
    name = ".".join(map(str, first["loc"]))
    inner: Any = model
    for key in first["loc"][:-1]:  # settings of settings
        inner = getattr(getattr(inner, "model_fields", {}).get(key), "annotation", None)
    field_names = {**{field: field for field in getattr(inner, "model_fields", ())}, **getattr(inner, "FORMER", {})}
    near = difflib.get_close_matches(str(first["loc"][-1]), field_names, n=1) if name else []
    hint = f"; did you mean {field_names[near[0]]!r}?" if near and first["type"] == "extra_forbidden" else ""
    is_mapping = isinstance(first["input"], Mapping | BaseModel)  # not all of a recipe
    setting = name if is_mapping else f"{name} = {shorten(first['input'])}"
    return UsageError(f"{setting}: {message}{hint}" if name else message)


def _refuse_truth_values(settings: BaseModel, values: Mapping[str, Any]) -> None:
    """Refuse True and False where numbers are expected: pydantic takes them for 1 and 0."""
    for name, value in values.items():
        setting = getattr(settings, getattr(settings, "FORMER", {}).get(name, name), value)
        if is_truth(value) and isinstance(setting, int | float) and not isinstance(setting, bool):
            raise UsageError(f"{name} = {value!r}: expected a number")
