"""How the site reads docstrings: our `Example:` is the section that griffe calls `Examples:`, whose lines are code."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object


class ExamplesAreCode(Extension):
    """Rename the section before it is parsed; left as it is, each line of a doctest would be a quotation in a box."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """griffe calls it for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
