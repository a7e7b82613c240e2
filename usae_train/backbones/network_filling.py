"""A network takes a file's tensors: all of its own, from a file that is of this network, or one line says why not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any, NamedTuple

import timm
from timm.models import _builder
from torch import Tensor, nn

from usae_train.backbones.packaged import match_in_order
from usae_train.backbones.spec import BackboneSpec
from usae_train.backbones.weight_files import not_plain
from usae_train.backbones.weight_forms import as_timm_names, foreign_form
from usae_train.backbones.weight_names import describe_misfit, first_beyond_blocks, unknown_part, without_prefix
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import first_line
from usae_train.runtime.shortage import is_fault

Filter = Callable[..., dict[str, Tensor]]


class Misfit(UsageError):
    """Weights that are not the model's, in one line that begins with the backbone's name."""


class LoadedWeights(NamedTuple):
    """What a backbone's network is to be filled with."""

    name: str
    spec: BackboneSpec
    file: str  # for messages
    content: Mapping[str, Any]  # tensors by name; of a release of timm's own, all that its file holds
    official: bool  # one of timm's own

    @property
    def misfits(self) -> str:
        """What a message begins with."""
        return f"{self.name}: {self.file} does not fit {self.spec.model!r}: "


@contextmanager
def fill_timm_networks(loaded: LoadedWeights) -> Iterator[None]:
    """While it lasts, networks that timm builds as pretrained are filled with these weights, and timm reads nothing.

    timm's builder alone knows the function that turns the names of a family's releases into its own, and hands it to
    its loader. So ours stands in the loader's place: one build where an overlay of timm's config took two, no copy of
    the weights that stays with the model, and it is known which tensors a file did not give.

    Raises:
        Misfit: when they are of another network.
        ValueError: when timm asked for none.
        Exception: a fault of ours while they were filled in, which timm's builder may have reworded.
    """
    timms_own, thread, filled = _builder.load_pretrained, threading.get_ident(), list[nn.Module]()
    faults: list[Exception] = []

    def load(model: nn.Module, *rest: Any, **arguments: Any) -> None:
        if threading.get_ident() != thread:  # another thread's network
            timms_own(model, *rest, **arguments)
            return
        filled.append(model)
        try:
            _fill_network(loaded, model, arguments["pretrained_cfg"], arguments["filter_fn"], arguments["strict"])
        except Exception as error:
            faults.extend([error] if is_fault(error) else [])
            raise

    _builder.load_pretrained = load
    try:
        yield
    except UsageError:
        if faults:  # inside timm's builder it would be taken for options that do not go together
            raise faults[0] from None
        raise
    finally:
        _builder.load_pretrained = timms_own
    if not filled:
        raise UsageError(f"{loaded.name}: timm {timm.__version__} loads weights in an unknown way; use another version")


def _fill_network(
    loaded: LoadedWeights, model: nn.Module, config: Mapping[str, Any], rename: Filter | None, strict: bool
) -> None:
    """Fill a network, by the first reading of the file's names that gives all of its tensors.

    Args:
        loaded: the weights.
        model: the network, with its initial values.
        config: timm's, of the architecture.
        rename: timm's function for the names of the family's releases.
        strict: whether timm says that the family's releases have every tensor.
    """
    initial, reasons = model.state_dict(), []
    complete = strict and not (loaded.official and not loaded.spec.options)  # of its own releases timm knows best
    for weights in _readings(loaded, initial):
        try:
            if not loaded.official and _has_all(weights, initial):
                renamed = dict(weights)
            else:
                renamed = _under_timm_names(loaded, weights, initial, model, rename)
            model.load_state_dict(_fitting_tensors(loaded, renamed, initial, config, complete), strict=False)
            return
        except Misfit as error:
            reasons.append(error)
    form = foreign_form(loaded.content, initial)
    raise Misfit(f"{loaded.misfits}{form}") if form else reasons[-1]


def _readings(loaded: LoadedWeights, initial: Mapping[str, Tensor]) -> Iterator[Mapping[str, Any]]:
    """A file's tensors as they are named, and otherwise read where that is unambiguous: the most likely last."""
    if loaded.spec.tensors == "ordered":
        try:
            yield match_in_order(loaded.content, initial, loaded.misfits)
        except UsageError as error:
            raise Misfit(str(error)) from error
        return
    yield loaded.content
    if loaded.official:
        return
    try:
        below = without_prefix(loaded.content, initial)
    except UsageError as error:
        raise Misfit(f"{loaded.misfits}{error}") from error
    if below is not None:
        yield below
    if (renamed := as_timm_names(loaded.content)) is not None:
        yield renamed


def _has_all(weights: Mapping[str, Tensor], initial: Mapping[str, Tensor]) -> bool:
    return all(key in weights and weights[key].shape == value.shape for key, value in initial.items())


def _under_timm_names(
    loaded: LoadedWeights,
    weights: Mapping[str, Any],
    initial: Mapping[str, Tensor],
    model: nn.Module,
    rename: Filter | None,
) -> dict[str, Tensor]:
    """A file's tensors under timm's names and in the model's size, by timm's own function."""
    if rename is None:
        return dict(weights)
    try:
        with redirect_stdout(StringIO()):  # it prints, for DINOv3 a line per block
            return dict(rename(dict(weights), model))
    except Exception as error:  # converters meet names and shapes that they were not written for
        raise Misfit(f"{loaded.misfits}{describe_misfit(weights, initial) or first_line(error)}") from error


def _fitting_tensors(
    loaded: LoadedWeights,
    named: Mapping[str, Any],
    initial: Mapping[str, Tensor],
    config: Mapping[str, Any],
    complete: bool,
) -> dict[str, Tensor]:
    """What a model takes of tensors under its names; a release of timm's own may have other things beside them.

    Raises:
        Misfit: when it lacks some, or they are of another size, a deeper network, or one with further parts, or have
            no plain numbers.
    """
    tensors = {key: value for key, value in named.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if (fault := not_plain({key: tensors[key] for key in initial if key in tensors})) is not None:
        raise Misfit(f"{loaded.misfits}{fault}")
    tensors = _with_classifier(loaded, tensors, config)
    if complete and (further := first_beyond_blocks(tensors, initial)) is not None:
        raise Misfit(f"{loaded.misfits}it has {further!r}, beyond the model's last block; it belongs to a deeper one")
    needed = {key: value for key, value in initial.items() if _is_needed(value, complete)}
    lacking = [key for key in needed if key not in tensors]
    if lacking or any(key in tensors and tensors[key].shape != value.shape for key, value in initial.items()):
        raise Misfit(f"{loaded.misfits}{describe_misfit(tensors, needed if lacking else initial)}")
    if complete and (part := unknown_part(tensors, initial)) is not None:
        raise Misfit(f"{loaded.misfits}it has {part!r}, a part that the model lacks; it belongs to another model")
    return {key: tensors[key] for key in initial if key in tensors}


def _is_needed(initial: Tensor, complete: bool) -> bool:
    """Whether a tensor must come from the file: whole numbers say where, not what, and follow from the architecture."""
    if not initial.is_floating_point() or not initial.numel():
        return False
    return complete or bool(initial.min() != initial.max())  # a bias that a release of timm's leaves at zero


def _with_classifier(loaded: LoadedWeights, tensors: dict[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors without the classifier's where the spec keeps none.

    Raises:
        Misfit: when it keeps one, and the file's has another size.
    """
    classifier_names, classes = config.get("classifier") or (), loaded.spec.classes
    classifiers = [classifier_names] if isinstance(classifier_names, str) else list(classifier_names)
    if classes == 0:
        return {key: tensor for key, tensor in tensors.items() if key.rpartition(".")[0] not in classifiers}
    offset = config.get("label_offset") or 0
    for classifier in classifiers:
        weight = tensors.get(f"{classifier}.weight")
        rows = classes if weight is None or not weight.ndim else len(weight)
        if rows not in (classes, classes + offset):
            raise Misfit(
                f"{loaded.misfits}its classifier has {rows} classes, and the spec says {classes}; set `classes` to "
                f"{rows}, or to 0 to leave it out"
            )
        for kind in ("weight", "bias"):  # where a release has a class of background before the others
            if rows != classes and f"{classifier}.{kind}" in tensors:
                tensors[f"{classifier}.{kind}"] = tensors[f"{classifier}.{kind}"][offset:]
    return tensors
