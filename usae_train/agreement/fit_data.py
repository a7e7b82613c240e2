"""What a consensus, and the trainings that it is made from, are fitted on: tokens, a store or pictures, opened once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from usae_train.agreement.members import sizes_in_words
from usae_train.backbones.backbone import listed_specs
from usae_train.images.source_record import SourceRecord
from usae_train.images.sources import ImageSource, as_source
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.tokens.arrays import token_tensors
from usae_train.tokens.feeding import Feed, MemoryFeed, StoreFeed
from usae_train.tokens.paired import PairedTokens
from usae_train.tokens.places import is_store, names_tokens
from usae_train.tokens.store import ActivationStore
from usae_train.tokens.token_tables import TokenTables, read_tokens
from usae_train.training.execution import IN_THIS_PROCESS, Execution
from usae_train.training.fitting import feed_pictures
from usae_train.training.resolving import allowed_memory
from usae_train.training.settings import FitSettings, check_for_pictures

Data = Mapping[str, Tensor] | TokenTables | str | Path | ImageSource | ActivationStore


class FitData(NamedTuple):
    """What a space is fitted on."""

    feed: Feed
    sample: Callable[[], Iterable[PairedTokens]]  # yields what statistics are measured on
    state_data: Mapping[str, Any]  # for training states: what they belong to
    images: SourceRecord = SourceRecord()


def open_data(
    data: Data,
    first: USAE,
    settings: FitSettings,
    limit: int | None = None,
    execution: Execution = IN_THIS_PROCESS,
) -> FitData:
    """Tokens, a store or pictures, of the backbones that the USAEs have.

    Raises:
        ValueError: for data of other backbones; says which.
    """
    if isinstance(data, str) and names_tokens(data):
        data = read_tokens(data)
    if isinstance(data, Mapping):
        data = TokenTables(token_tensors(data))
    if isinstance(data, TokenTables):
        check_for_pictures("the data is tokens already", settings, limit, readers=execution.readers)
        feed = MemoryFeed(data.flat)
        check_widths(feed.widths, first, "the tokens have")
        return FitData(feed, data.sample, data.identity())
    if isinstance(data, str | Path) and is_store(data):
        data = ActivationStore(data)
    if isinstance(data, ActivationStore):
        check_for_pictures("the store has its own", settings, limit, readers=execution.readers)
        return open_store(data, first, execution.memory)
    source = as_source(data, limit)
    backbones = {name: backbone.to(execution.device) for name, backbone in first.backbones.items()}
    assert first.grid is not None
    feed_of_pictures, pictures = feed_pictures(backbones, source, first.grid, settings, execution)
    images = SourceRecord.of(source)
    state_data = {**images.state_fields, "widths": first.widths, "backbones": listed_specs(first.specs)}
    return FitData(feed_of_pictures, pictures, state_data, images)


def open_store(store: ActivationStore, first: USAE, memory: float | None) -> FitData:
    """A store of the USAEs' backbones.

    Raises:
        ValueError: for other backbones, another grid, or other weights.
    """
    record = store.record
    check_widths(record.widths, first, "the store has")
    if record.grid != first.grid:
        raise UsageError(f"the store has the grid {record.grid}, but the USAEs {first.grid}; extract it on theirs")
    for name, record_there in record.weights.items():
        if name in first.weights and first.weights[name].sha256 != record_there.sha256:
            raise UsageError(f"the store's {name} had other weights than the USAEs'; extract it with theirs")
    feed = StoreFeed(store, allowed_memory(memory))
    shards = [shard.sha256 for shard in record.shards]
    state_data = {**record.images.state_fields, "widths": first.widths, "shards": shards}
    return FitData(feed, feed.sample, state_data, record.images)


def check_widths(widths: Mapping[str, int], first: USAE, what: str) -> None:
    """Refuse data of other backbones than the USAEs', or in another order.

    Raises:
        ValueError: names both.
    """
    if list(widths.items()) != list(first.widths.items()):
        sizes, expected = sizes_in_words(widths), sizes_in_words(first.widths)
        raise UsageError(f"{what} backbones and widths {sizes}; expected those of the USAEs: {expected}")
