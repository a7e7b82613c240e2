"""What a backbone can be called: its name becomes a file's, a module's and a tensor's."""

from __future__ import annotations

import re
from collections.abc import Collection

from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import did_you_mean

NAME = re.compile(r"[A-Za-z0-9_-]+(@-?[0-9]+)?")  # and the layer, where one network is read at several
RESERVED = ("images", "shared", "sheet")  # a store's tensor of numbers; pictures that are not a single backbone's


def check_name(name: str) -> None:
    """Refuse a name that would be taken for something else; says what to use."""
    from torch import nn

    if not NAME.fullmatch(name) or name in RESERVED or hasattr(nn.ModuleDict, name):
        raise UsageError(
            f"a backbone cannot be called {name!r}; use letters, digits, _ and -, and none of {', '.join(RESERVED)} or "
            "torch's own words"
        )


def check_backbone_name(names: Collection[str], name: str) -> str:
    """The name itself.

    Args:
        names: names of a USAE's backbones.
        name: of one of them.

    Raises:
        ValueError: for any other; lists the USAE's.
    """
    if not isinstance(name, str) or name not in names:
        raise UsageError(f"unknown backbone {name!r}; this USAE has {', '.join(names)}{did_you_mean(name, names)}")
    return name
