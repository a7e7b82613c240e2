"""Objectives on a class of a backbone that kept its classifier (`classes` in its spec)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from usae_train.files.whole_numbers import at_least
from usae_train.runtime.errors import UsageError
from usae_viz.objectives.algebra import Objective
from usae_viz.objectives.arguments import check_backbone, format_call, unbound
from usae_viz.objectives.class_names import ClassName

if TYPE_CHECKING:
    from torch import Tensor

    from usae_viz.objectives.activations import Activations

# Of the log-probability within `Class`. At 1 a class that the network itself is sure of has nothing left to gain; at
# 3 the classes that it confuses with it go on falling (tests/benchmarks/real_reader.py).
TEMPERATURE = 3.0


class _OfClass(Objective):
    """What a function makes of the logits, for one class."""

    CONSTANTS: ClassVar[Mapping[str, float] | None] = None  # see `Objective`

    def __init__(self, backbone: str, index: int | str) -> None:
        check_backbone(backbone)
        kind = type(self)
        if isinstance(index, str):
            class_name = ClassName(backbone, index)
            super().__init__(
                unbound("class", index),
                format_call(kind.__name__, backbone, index),
                backbones=[backbone],
                bind=lambda number: kind(backbone, number(class_name)),
            )
            return
        index = at_least(0, index, "class")

        def score(acts: Activations) -> Tensor:
            if acts.backbone != backbone:
                return acts.tokens.new_zeros(len(acts.tokens))
            if index >= acts.logits.shape[-1]:
                raise UsageError(f"no class {index}; {backbone}'s classifier has {acts.logits.shape[-1]}")
            return kind.of_logits(acts.logits, index).mean(1)

        name = format_call(kind.__name__, backbone, index)
        classes = [(backbone, index)]
        super().__init__(score, name, backbones=[backbone], classes=classes, constants=kind.CONSTANTS)

    @staticmethod
    def of_logits(logits: Tensor, index: int) -> Tensor:
        """(batch, view): the score of a class by logits (batch, view, class)."""
        raise NotImplementedError


class Class(_OfClass):
    """A class of a backbone's classifier: its `Logit` and its `LogProbability`, this at a temperature of 3.

    Of logits z, the mean over views of z[index] + 3 log softmax(z / 3)[index]. Either alone is recognized by fewer
    networks that took no part (tests/benchmarks/real_reader.py).

    Args:
        backbone: the backbone's name.
        index: the class, its number or, where timm knows the names (ImageNet), its name.

    Raises:
        ValueError: for a class that the classifier does not have, or a backbone without one.

    Example:
        >>> Class("lite0", 483)
        Class('lite0', 483)
        >>> Class("lite0", "castle")  # by the name that ImageNet gives it
        Class('lite0', 'castle')
    """

    CONSTANTS: ClassVar[Mapping[str, float] | None] = {"temperature": TEMPERATURE}

    @staticmethod
    def of_logits(logits: Tensor, index: int) -> Tensor:
        """Logit and log-probability together, the latter at a temperature."""
        tempered = TEMPERATURE * (logits / TEMPERATURE).log_softmax(-1)
        return (logits + tempered)[..., index]


class Logit(_OfClass):
    """The logit of a class of a backbone's classifier.

    Args:
        backbone: the backbone's name.
        index: the class, as in `Class`.

    Raises:
        ValueError: for a class that the classifier does not have, or a backbone without one.

    Example:
        >>> Logit("vit", 207) - 0.1 * Logit("vit", 208)
        Logit('vit', 207) - 0.1 * Logit('vit', 208)
    """

    @staticmethod
    def of_logits(logits: Tensor, index: int) -> Tensor:
        """The logit."""
        return logits[..., index]


class LogProbability(_OfClass):
    """The logarithm of the probability of a class of a backbone's classifier.

    A logit may rise with those of other classes; this asks that they fall.

    Args:
        backbone: the backbone's name.
        index: the class, as in `Class`.

    Raises:
        ValueError: for a class that the classifier does not have, or a backbone without one.

    Example:
        >>> LogProbability("lite0", 483)
        LogProbability('lite0', 483)
    """

    @staticmethod
    def of_logits(logits: Tensor, index: int) -> Tensor:
        """The logarithm of the softmax."""
        return logits.log_softmax(-1)[..., index]
