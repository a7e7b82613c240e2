"""Binding a dictionary to its variant: while it is trained, the variant makes its rows."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn.utils import parametrize

from usae_train.model.usae import USAE, Dictionary
from usae_train.training.dictionaries.free import Free
from usae_train.training.dictionaries.variant import DictionaryKind, Rows


def bind_dictionaries(
    usae: USAE, kind: DictionaryKind, starts: Mapping[str, Tensor], sampled: Mapping[str, Tensor]
) -> None:
    """Have a variant make the rows of the dictionaries that start at `starts`, until `release`.

    Args:
        usae: the model, its offsets set.
        kind: the variant.
        starts: {backbone: (n_concepts, width)}, of unit norm.
        sampled: {backbone: raw tokens (n, width)}, row n the same patch in all.
    """
    if kind == Free():
        return
    pool = {}
    for name, start in starts.items():
        pool[name] = usae.standardize(name, sampled[name].to(start.device).float()) - usae.decoder(name).offset
    for name in starts:
        rows = kind.rows(name, starts, pool, usae.unit_norm)
        if rows is not None:
            parametrize.register_parametrization(usae.decoder(name), "weight", rows)


def project(dictionary: Dictionary, renormalize: bool) -> None:
    """After a step: project as the variant does, or without one divide rows by their norm if `renormalize`."""
    if parametrize.is_parametrized(dictionary, "weight"):
        parametrization = dictionary.get_submodule("parametrizations.weight")
        rows = dictionary.get_submodule("parametrizations.weight.0")
        assert isinstance(rows, Rows)
        rows.project(parametrization.get_parameter("original"))
    elif renormalize:
        dictionary.project()


def release(dictionary: Dictionary) -> None:
    """Keep the rows as they are, and drop what they were made from."""
    if parametrize.is_parametrized(dictionary, "weight"):
        parametrize.remove_parametrizations(dictionary, "weight", leave_parametrized=True)
