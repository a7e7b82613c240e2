"""Several processes on one run, as torchrun starts them: the first plans and holds the folder, each draws its share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

Told = TypeVar("Told")
PATIENCE = timedelta(days=30)  # one process may be done long before another; a dead one is torchrun's to notice


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this is."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that speaks."""
        return self.rank == 0

    def told(self, find: Callable[[], Told]) -> Told:
        """What the first process finds; if that fails, it fails there with its error and elsewhere silently."""
        if self.count == 1:
            return find()
        from torch.distributed import broadcast_object_list

        said: list[Any] = [None, None]
        failure: BaseException | None = None
        if self.first:
            try:
                said = [True, find()]
            except BaseException as error:
                said, failure = [False, None], error
        broadcast_object_list(said, src=0)
        if failure is not None:
            raise failure
        if not said[0]:
            sys.stderr.flush()
            raise SystemExit(1)
        return said[1]

    @contextmanager
    def one_voice(self) -> Iterator[None]:
        """An error that all processes meet alike is told by the first alone."""
        try:
            yield
        except (ValueError, OSError):
            if self.first:
                raise
            raise SystemExit(1) from None

    def wait(self) -> None:
        """Until all have come here."""
        if self.count > 1:
            from torch.distributed import barrier

            barrier()


ALONE = Processes()


@contextmanager
def of_torchrun() -> Iterator[Processes]:
    """This process among torchrun's; one alone without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield ALONE
        return
    from torch import distributed

    distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def own_device(device: str) -> str:
    """`auto`, and `cuda`, mean this process's own GPU, where there are several processes and GPUs."""
    place = os.environ.get("LOCAL_RANK")
    if place is None or device not in ("auto", "cuda"):
        return device
    import torch

    return f"cuda:{int(place) % torch.cuda.device_count()}" if torch.cuda.is_available() else device
