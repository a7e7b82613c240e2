"""Settings that come by name and value: checked by pydantic, answered in one line."""

from __future__ import annotations

import difflib
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Settings = TypeVar("Settings", bound=BaseModel)


def check_settings(model: type[Settings], **values: Any) -> Settings:
    """Check settings by name and value.

    Raises:
        ValueError: one line, with the nearest right name or what was expected.
    """
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        inner: Any = model
        for key in first["loc"][:-1]:  # settings of settings
            inner = getattr(getattr(inner, "model_fields", {}).get(key), "annotation", None)
        near = difflib.get_close_matches(str(first["loc"][-1]), getattr(inner, "model_fields", ()), n=1)
        hint = f"; did you mean {near[0]!r}?" if near and first["type"] == "extra_forbidden" else ""
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{name} = {first['input']!r}: {message}{hint}") from error
