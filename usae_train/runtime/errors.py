"""Errors that a user can cause, apart from bugs of ours: the one is a line, the other a traceback in a file."""

from __future__ import annotations

import os
import tempfile
import traceback


class UsageError(ValueError):
    """A user's mistake: the message has the value, what was expected and what to do."""


def shows_tracebacks() -> bool:
    """Whether a traceback is to come on screen: USAE_TRACEBACK is 1."""
    return os.environ.get("USAE_TRACEBACK", "") not in ("", "0")


def write_traceback(error: BaseException) -> str:
    """Write a fault's traceback into a file of its own; the line that tells of it."""
    text = "".join(traceback.format_exception(error))
    kind = type(error).__name__
    try:
        with tempfile.NamedTemporaryFile("w", prefix="usae-", suffix=".txt", delete=False, encoding="utf-8") as file:
            file.write(text)
        where = f"its traceback is in {file.name}"
    except OSError:  # no place left: then it comes on screen after all
        return f"a bug in usae, {kind}: {text}"
    return f"a bug in usae, {kind}: {error}; {where}, please report it (USAE_TRACEBACK=1 shows it here)"
