"""Our kinds of warnings; no torch, for command lines import this early. A command shows each as one line."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from usae_train.runtime.errors import UsageError

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


class OneLineWarning(UserWarning):
    """What a command shows without the place in the code."""


class FormerNameWarning(OneLineWarning):
    """A setting or option is given by a name that it had in an earlier version."""


class UnreadPicturesWarning(OneLineWarning):
    """Pictures that cannot be read, or are left out of those that are there."""


class BackboneWarning(OneLineWarning):
    """A warning about a backbone, for its user."""


class SimilarWeightsWarning(BackboneWarning):
    """A backbone's weights are not the same to the bit, and give nearly the same tokens."""


class UnexpectedReadingWarning(BackboneWarning):
    """A backbone's layer is not quite what its spec, or timm's `forward_features`, suggests."""


class FormerName(property):
    """A method or property by its name of an earlier version, with a warning: `lacks = FormerName("judge")`.

    It is a property, so that dataclasses, pydantic and nn.Module do not take it for a field.
    """

    def __init__(self, today: str) -> None:
        super().__init__(self._of, doc=f"What `{today}` was called before 0.9.")
        self._today = today

    def __set_name__(self, owner: type, name: str) -> None:
        self._former = name

    def _of(self, instance: object) -> Any:
        message = f"{self._former} is called {self._today} now; write {self._today}"
        warnings.warn(message, FormerNameWarning, stacklevel=2)
        return getattr(instance, self._today)


def former_arguments(**former: str) -> Callable[[Callable[Given, Returned]], Callable[Given, Returned]]:
    """Let a function take arguments by names of an earlier version too, {former: today's}, with a warning."""

    def decorate(function: Callable[Given, Returned]) -> Callable[Given, Returned]:
        @functools.wraps(function)
        def with_todays_names(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
            for old in former.keys() & kwargs.keys():
                name = former[old]
                if name in kwargs:
                    raise UsageError(f"{old} is the former name of {name}; give {name} alone")
                warnings.warn(f"{old} is called {name} now; write {name}", FormerNameWarning, stacklevel=2)
                kwargs[name] = kwargs.pop(old)
            return function(*args, **kwargs)

        return with_todays_names

    return decorate
