"""A part of a drawing that is custom code, as a setting: `module:Name`, or what Python was given."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from usae_train.runtime.errors import UsageError
from usae_train.runtime.shortage import shortage
from usae_viz.custom_code.hashing import hash_of_code
from usae_viz.custom_code.importing import CODE_NAME, import_custom, names_custom_code, where_it_failed

_HASHES = WeakKeyDictionary[Any, str]()  # {what was given in Python: the hash of its code when it first was}


class ImageError(UsageError):
    """What is wrong with one of several pictures, by its row: why, in one line."""

    def __init__(self, row: int, why: str) -> None:
        super().__init__(why)
        self.row = row

    def __reduce__(self) -> tuple[type[ImageError], tuple[int, str]]:
        return type(self), (self.row, str(self))  # to be pickled for another process


class PartFailed(ImageError):
    """What custom code made of one canvas cannot be used."""


@contextmanager
def failing_at(row: int) -> Iterator[None]:
    """An error within it about a part, or about what it makes, names one of the canvases."""
    try:
        yield
    except UsageError as error:
        raise PartFailed(row, str(error)) from error


@dataclass(frozen=True, eq=False)
class CustomPart:
    """A custom parameterization or transform. Settings keep its name; its code is not in them.

    Attributes:
        text: `module:Name`; of what is not in a file that could be imported, what Python calls it.
        target: what it names; None until it is imported.
        sha256: of the code, with what it imports; None for what is not in a file.
    """

    text: str
    target: Callable[..., Any] | None = None
    sha256: str | None = None

    @classmethod
    def from_value(cls, value: object) -> CustomPart:
        """A name as it is, without importing it; a callable with the file that it stands in, as it first was.

        A file that is changed and not imported again gives, and runs, its former code.

        Raises:
            ValueError: for anything else.
        """
        if isinstance(value, CustomPart):
            return value
        if isinstance(value, str) and names_custom_code(value):
            return cls(value.strip())
        if not callable(value):
            raise UsageError("expected `module:Name`, or in Python a callable")
        name = getattr(value, "__qualname__", type(value).__qualname__)
        module = getattr(value, "__module__", None)
        imported = sys.modules.get(str(module))
        file = getattr(imported, "__file__", None)
        if module == "__main__" or file is None or getattr(imported, name, None) is not value:
            return cls(name, value)
        if value not in _HASHES:
            _HASHES[value] = hash_of_code(str(module), Path(file))
        return cls(f"{module}:{name}", value, _HASHES[value])

    def imported(self, folder: Path, allow_code: bool, what: str) -> CustomPart:
        """The same with what it names, which is looked for in a folder first; `what` it is to be, for the messages.

        Raises:
            ValueError: without permission, or for a module or name that is not there or cannot be called.
        """
        if self.target is not None:
            return self
        target, sha256 = import_custom(self.text, folder, allow_code, what)
        if not callable(target):
            module, _, name = self.text.partition(":")
            raise UsageError(f"{what} {self.text!r}: {module} has no class or function {name!r}")
        return CustomPart(self.text, target, sha256)

    def ready(self, what: str) -> Callable[..., Any]:
        """What it names.

        Raises:
            ValueError: for a name alone: only recipes and commands import code, with permission.
        """
        if self.target is None:
            raise UsageError(f"{what} {self.text!r} is the name of code that was not imported; give the code itself")
        return self.target

    @contextmanager
    def guarded(self, what: str) -> Iterator[None]:
        """What its code raises becomes one line of error, with the code's line; running out of memory is passed on."""
        try:
            yield
        except (UsageError, RecursionError):
            raise
        except Exception as error:
            if shortage(error) is not None:
                raise
            file = getattr(sys.modules.get(getattr(self.target, "__module__", "")), "__file__", None)
            raise UsageError(f"{what} {self.text!r} fails: {where_it_failed(error, file)}") from error

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CustomPart) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[str, str | None, int]:
        return self.text, self.sha256, id(self.target)

    @classmethod
    def __get_pydantic_core_schema__(cls, _: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        as_text = core_schema.plain_serializer_function_ser_schema(str)
        return core_schema.no_info_plain_validator_function(cls.from_value, serialization=as_text)

    @classmethod
    def __get_pydantic_json_schema__(cls, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^{CODE_NAME.pattern}$"}
