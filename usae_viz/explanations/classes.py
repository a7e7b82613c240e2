"""Classes of a backbone's classifier, by number or name."""

from __future__ import annotations

import difflib

from usae_train.files.whole_numbers import whole_number
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_viz.verification.classes import class_name
from usae_viz.verification.known_classes import check_class


def parse_class(usae: USAE, backbone: str, class_: int | str) -> int:
    """The number of a class of a backbone's classifier, from its number or name.

    Raises:
        ValueError: for a backbone without classifier, or a class that it does not have; says the nearest names.
    """
    text = str(class_).strip()
    if text.removeprefix("-").isdecimal():
        number = whole_number(text)
        check_class(usae, usae.known_name(backbone), number)
        if number < 0:
            raise UsageError(f"no class {text}; classes are numbered from 0")
        return number
    check_class(usae, usae.known_name(backbone), 0, text)
    names = class_names(usae.specs[backbone].classes)
    if not names:
        raise UsageError(f"no class {text!r}: the classes of {backbone} have no names that are known; give a number")
    wanted = [number for number, name in enumerate(names) if name.lower() == text.lower()]
    if not wanted:
        spelt = {name.lower(): name for name in names}
        near = difflib.get_close_matches(text.lower(), spelt, n=3, cutoff=0.5)
        within = [name for name in spelt if text.lower() in name][:3]
        nearest = [spelt[each] for each in dict.fromkeys([*within, *near])][:4]
        said = f"the nearest: {', '.join(nearest)}" if nearest else "expected a name of ImageNet's, such as tabby"
        raise UsageError(f"no class {text!r} of {backbone}; {said}")
    return wanted[0]


def class_names(count: int) -> list[str]:
    """What the classes of a classifier of such a size are called; empty where that is not known."""
    if class_name(count, 0) is None:
        return []
    return [class_name(count, number) or str(number) for number in range(count)]


def named_class(count: int, number: int) -> str:
    """A class as a person reads it."""
    return class_name(count, number) or f"class {number}"
