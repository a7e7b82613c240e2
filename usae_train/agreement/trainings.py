"""`usae-train fit --starts 5`: trainings from different starts, and then what they agree on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from usae_train.agreement.fit_data import FitData, open_data
from usae_train.agreement.members import check_members
from usae_train.backbones.backbone import build_backbones
from usae_train.backbones.common_sizes import common_grid
from usae_train.backbones.spec import BackboneSpec
from usae_train.files.atomic import check_writable
from usae_train.files.locks import folder_lock
from usae_train.images.sources import ImageSource
from usae_train.model.checkpoint import load
from usae_train.model.firing import measure
from usae_train.model.usae import USAE
from usae_train.tokens.feeding import MemoryFeed
from usae_train.tokens.store import ActivationStore
from usae_train.tokens.token_tables import TokenTables
from usae_train.training.execution import Execution
from usae_train.training.independent_fit import Executions, fit_each
from usae_train.training.logging.callbacks import FitCallbacks
from usae_train.training.loop import fit_tokens, new_usae
from usae_train.training.settings import FitSettings


def empty_space(
    data: ImageSource | ActivationStore | TokenTables, specs: Mapping[str, BackboneSpec], settings: FitSettings
) -> USAE:
    """An untrained USAE of a store's backbones, of given tokens, or of these specs: the space of all trainings."""
    if isinstance(data, TokenTables):
        return new_usae(MemoryFeed(data.flat).widths, settings)
    if isinstance(data, ActivationStore):
        record = data.record
        usae = new_usae(record.widths, settings, specs=data.specs, grid=record.grid)
        usae.weights = dict(record.weights)
        return usae
    built = build_backbones(specs)
    widths = {name: backbone.width for name, backbone in built.items()}
    usae = new_usae(widths, settings, specs=specs, grid=common_grid(list(built.values())))
    usae.weights = {name: backbone.record() for name, backbone in built.items()}
    return usae


def fit_starts(
    count: int,
    data: ImageSource | ActivationStore | TokenTables,
    specs: Mapping[str, BackboneSpec],
    settings: FitSettings,
    trainings: Path,
    executions: Executions,
    callbacks: FitCallbacks,
) -> tuple[list[USAE], FitData]:
    """Train from several starts on the same tokens, which are computed once; finished trainings are not repeated.

    Args:
        count: number of trainings; each has seeds of its own, `seed + 1 + number`, and likewise `init_seed`.
        data: a store, tokens or pictures.
        specs: the backbones that see pictures.
        settings: of all trainings.
        trainings: where each is written as soon as it is done.
        executions: how each is carried out.
        callbacks: for progress while pictures are seen.

    Returns:
        The trainings, and what they were trained on.

    Raises:
        ValueError: when existing ones have other settings or other data.
    """
    check_writable(trainings)
    empty = empty_space(data, specs, settings)
    memory, readers = executions.settings.memory, executions.settings.readers
    opening = Execution(executions.device, callbacks, memory=memory, readers=readers)
    fit_data = open_data(data, empty, settings, execution=opening)

    def fit_one(_: str, seeded: FitSettings, execution: Execution) -> USAE:
        usae = new_usae(empty.widths, seeded, specs=empty.specs, grid=empty.grid)
        usae.weights = dict(empty.weights)
        assert execution.checkpointer is not None
        execution.checkpointer.data = dict(fit_data.state_data)
        steps, log_every = execution.callbacks.steps, execution.callbacks.log_every
        fit_tokens(fit_data.feed, seeded, usae, execution.device, steps, execution.checkpointer, log_every)
        usae.measured_on = fit_data.images
        usae.statistics = measure(usae, fit_data.sample())
        return usae.to("cpu")

    names = [f"start-{number}" for number in range(count)]
    with folder_lock(trainings):
        fit_each(names, settings, fit_one, trainings, executions, fit_data.state_data)
    members = [load(trainings / name) for name in names]
    check_members(members)
    return members, fit_data
