"""Whether a backbone has a class. No torch: commands ask before they load it."""

from __future__ import annotations

from usae_train.model.outline import Described
from usae_train.runtime.errors import UsageError


def check_class(usae: Described, backbone: str, index: int, name: str | None = None) -> None:
    """Check that a backbone's classifier has a class.

    Args:
        usae: with its backbones.
        backbone: whose classifier.
        index: of the class.
        name: how the class was said, if not by its number.

    Raises:
        ValueError: for a backbone without its classifier, or a class that this does not have.
    """
    spec = usae.specs.get(backbone)
    if spec is None or spec.classes == 0:
        having = [f"{each} ({other.classes})" for each, other in usae.specs.items() if other.classes]
        which = f", or ask one that has: {', '.join(having)}" if having else ""
        said = index if name is None else repr(name)
        raise UsageError(f"no class {said}: {backbone} has no classifier; set `classes` in its spec{which}")
    if index >= spec.classes:
        raise UsageError(
            f"no class {index}; {backbone}'s classifier has {spec.classes}, numbered 0 to {spec.classes - 1}"
        )
