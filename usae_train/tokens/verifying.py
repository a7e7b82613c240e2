"""Comparing the checksums of a store before it is trained on."""

from __future__ import annotations

from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.progress import ProgressCallback
from usae_train.tokens.store import ActivationStore


def check_checksums(
    store: ActivationStore,
    report: ProgressCallback = lambda stage, done, total, note: None,
    ranks: DistributedContext = SINGLE_PROCESS,
) -> None:
    """Compare all shards' checksums, each rank one at a time, so that damage is found within one shard's time.

    Args:
        store: a finished store.
        report: called with the stage, shards done of all, and nothing more.
        ranks: the processes that share the work.

    Raises:
        ValueError: for a shard that is missing or has another checksum.
    """
    shards = store.record.shards
    for first in range(0, len(shards), ranks.world_size):
        with ranks.raise_together():
            list(store.compare_checksums(shards[first : first + ranks.world_size][ranks.rank : ranks.rank + 1]))
        report("checksums", min(first + ranks.world_size, len(shards)), len(shards), "")
