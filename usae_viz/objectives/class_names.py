"""Classes of a backbone's classifier, by number or name. No torch: commands ask before they load it."""

from __future__ import annotations

import difflib

from usae_train.backbones.spec import without_classifier
from usae_train.files.whole_numbers import whole_number
from usae_train.model.outline import UsaeDescription
from usae_train.runtime.errors import UsageError


class ClassName(str):
    """A class that is known by its name, and whose: `castle of lite0`.

    Attributes:
        backbone: whose classifier.
        name: what the class is called there.
    """

    backbone: str
    name: str

    def __new__(cls, backbone: str, name: str) -> ClassName:
        instance = super().__new__(cls, f"{name} of {backbone}")
        instance.backbone, instance.name = backbone, name
        return instance

    def __reduce__(self) -> tuple[type[ClassName], tuple[str, str]]:  # for copies and pickles
        return ClassName, (self.backbone, self.name)


def check_class(usae: UsaeDescription, backbone: str, index: int, name: str | None = None) -> None:
    """Raise a ValueError for a backbone without its classifier, or a class that this does not have.

    `name` is how the class was given, if not by its number.
    """
    spec = usae.specs.get(backbone)
    if spec is None or spec.classes == 0:
        having = [f"{each} ({other.classes})" for each, other in usae.specs.items() if other.classes]
        which = f", or ask one that has: {', '.join(having)}" if having else ""
        class_words = index if name is None else repr(name)
        raise UsageError(f"no class {class_words}: {without_classifier(backbone)}{which}")
    if index >= spec.classes:
        raise UsageError(
            f"no class {index}; {backbone}'s classifier has {spec.classes}, numbered 0 to {spec.classes - 1}"
        )


def class_name(count: int, index: int) -> str | None:
    """What timm calls a class of a classifier of ImageNet's size (or of its larger sets'); None for any other."""
    from usae_train.images.classes import imagenet_classes

    class_names = imagenet_classes(count) or ()
    return class_names[index][1].partition(",")[0] if index < len(class_names) else None


def parse_class(usae: UsaeDescription, backbone: str, class_: int | str) -> int:
    """The number of a class of a backbone's classifier, from its number or name.

    Raises:
        ValueError: for a backbone without classifier, or a class that it does not have; says the nearest names.
    """
    text = str(class_).strip()
    if text.removeprefix("-").isdecimal():
        number = whole_number(text)
        check_class(usae, usae.check_backbone(backbone), number)
        if number < 0:
            raise UsageError(f"no class {text}; classes are numbered from 0")
        return number
    check_class(usae, usae.check_backbone(backbone), 0, text)
    names = class_names(usae.specs[backbone].classes)
    if not names:
        raise UsageError(f"no class {text!r}: the classes of {backbone} have no names that are known; give a number")
    numbers = [number for number, name in enumerate(names) if name.lower() == text.lower()]
    if not numbers:
        by_lower_case = {name.lower(): name for name in names}
        near = difflib.get_close_matches(text.lower(), by_lower_case, n=3, cutoff=0.5)
        within = [name for name in by_lower_case if text.lower() in name][:3]
        nearest = [by_lower_case[each] for each in dict.fromkeys([*within, *near])][:4]
        advice = f"the nearest: {', '.join(nearest)}" if nearest else "expected a name of ImageNet's, such as tabby"
        raise UsageError(f"no class {text!r} of {backbone}; {advice}")
    if len(numbers) > 1:
        raise UsageError(
            f"{backbone} has {len(numbers)} classes {text!r}: {' and '.join(map(str, numbers))}; give a number"
        )
    return numbers[0]


def class_names(count: int) -> list[str]:
    """What the classes of a classifier of such a size are called; empty where that is not known."""
    if class_name(count, 0) is None:
        return []
    return [class_name(count, number) or str(number) for number in range(count)]


def class_in_words(count: int, number: int) -> str:
    """A class as a person reads it."""
    return class_name(count, number) or f"class {number}"
