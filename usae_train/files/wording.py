"""What was expected of a value, in this project's words; pydantic, which finds what is wrong, has words of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PYDANTIC_PREFIX = re.compile(r"^(Value error|Assertion failed), ")  # of what a check of ours says
PYDANTIC_SUBJECT = re.compile(r"^\w+ should (be |have )?")
TEXT, MAPPING, LIST = "expected text", "expected keys with values, such as {{key: value}}", "expected a list"
INTEGER, NUMBER, TRUTH = "expected a whole number", "expected a number", "expected true or false"
WORDS = {
    "missing": "it is missing",
    "extra_forbidden": "unknown name",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected at least {ge}",
    "less_than": "expected less than {lt}",
    "less_than_equal": "expected at most {le}",
    "multiple_of": "expected a multiple of {multiple_of}",
    "finite_number": "expected a finite number",
    "too_short": "expected at least {min_length} of them, found {actual_length}",
    "too_long": "expected at most {max_length} of them, found {actual_length}",
    "string_too_short": "expected {min_length} or more characters",
    "string_too_long": "expected {max_length} or fewer characters",
    "string_pattern_mismatch": "expected text of the form {pattern}",
    "literal_error": "expected {expected}",
    "enum": "expected {expected}",
    "none_required": "expected nothing",
    "is_instance_of": "expected an instance of {class}",
    "callable_type": "expected a function",
    "path_type": "expected the name of a file",
    "union_tag_invalid": "{discriminator} is '{tag}'; expected {expected_tags}",
    "union_tag_not_found": "expected {discriminator}, which says the kind",
    "recursion_loop": "it is nested within itself",
    **dict.fromkeys(("string_type", "string_unicode", "string_sub_type"), TEXT),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"), MAPPING),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type"), LIST),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), INTEGER),
    "int_parsing_size": "expected a whole number of fewer digits",
    **dict.fromkeys(("float_type", "float_parsing"), NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), TRUTH),
}
# Whose value is not what is wrong: it is not there, or all that stands around it.
WITHOUT_VALUE = ("missing", "extra_forbidden", "union_tag_not_found")


def expectation(error: Mapping[str, Any]) -> str:
    """What was expected, of one entry of `ValidationError.errors()`.

    Example:
        >>> expectation({"type": "greater_than_equal", "msg": "Input should be ...", "ctx": {"ge": 16}})
        'expected at least 16'
    """
    words = WORDS.get(error["type"])
    if words is not None:
        return words.format(**error.get("ctx", {}))
    message = str(error["msg"])
    return (
        PYDANTIC_PREFIX.sub("", message)
        if PYDANTIC_PREFIX.match(message)
        else PYDANTIC_SUBJECT.sub("expected ", message)
    )


def shows_value(error: Mapping[str, Any]) -> bool:
    """Whether the value of an entry says more: one word or number is wrong, and no check of ours tells of it."""
    plain = isinstance(error["input"], str | int | float | bool | None)
    return plain and error["type"] not in WITHOUT_VALUE and not PYDANTIC_PREFIX.match(str(error["msg"]))


def shorten(value: Any) -> str:
    """A value, cut to what a line can hold."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."
