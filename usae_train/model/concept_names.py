"""Which names concepts may have: names are typed in place of concepts, so they must not mean something else there.

Names are compared as `bare_name` returns them, in lower case and without spaces. In that form a name

1. has no comma, which separates concepts;
2. has none of `*`, `?` and `[`, which make a pattern of names (`colour:*`);
3. is not a whole number (`12`, `-3`) or a range of them (`40-42`, with whichever dash);
4. does not begin with `top:`, and is not `all` or `favourites`.

A file with another name is refused when it is read, with the name and the rule: neither silently wins.
"""

from __future__ import annotations

import re

DASH = "[-\u2010-\u2015\u2212]"  # a hyphen, and the dashes and the minus that editors put in its place
WHOLE_NUMBER = re.compile(r"-?\d+")
RANGE = re.compile(rf"(\d+)\s*{DASH}\s*(\d+)")
TOP = "top:"
ALL = "all"
FAVOURITES = "favourites"
WILDCARD = re.compile(r"[*?[]")


def bare_name(name: str) -> str:
    """The form in which names are compared: lower case, no spaces."""
    return "".join(name.lower().split())


def why_no_name(name: str) -> str | None:
    """Why a concept cannot have this name; None where it can (an empty name too).

    Example:
        >>> why_no_name("40-42")
        'it is a range of concepts'
    """
    bare = bare_name(name)
    if "," in bare:
        return "a comma separates concepts"
    if (sign := WILDCARD.search(bare)) is not None:
        return f"{sign[0]} makes a pattern of names"
    if WHOLE_NUMBER.fullmatch(bare):
        return "a number is a concept of that index"
    if RANGE.fullmatch(bare):
        return "it is a range of concepts"
    if bare.startswith(TOP):
        return f"{TOP} takes the most universal concepts"
    return f"{bare} has a meaning of its own" if bare in (ALL, FAVOURITES) else None
