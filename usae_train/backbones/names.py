"""What a backbone can be called: its name becomes a file's, a module's and a tensor's."""

from __future__ import annotations

import re

from torch import nn

from usae_train.runtime.errors import UsageError

NAME = re.compile(r"[A-Za-z0-9_-]+(@-?[0-9]+)?")  # and the layer, where one network is read at several
TAKEN = ("images", "shared", "sheet")  # a store's tensor of numbers; pictures that are not a single backbone's


def check_name(name: str) -> None:
    """Nothing.

    Raises:
        ValueError: for a name that would be taken for something else; says what to use.
    """
    if not NAME.fullmatch(name) or name in TAKEN or hasattr(nn.ModuleDict, name):
        raise UsageError(
            f"a backbone cannot be called {name!r}; use letters, digits, _ and -, and none of {', '.join(TAKEN)} or "
            "torch's own words"
        )
