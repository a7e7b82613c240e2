"""Processes that work as one: started by torchrun, on one machine or many, joined by torch.distributed.

Every rank draws the same random numbers and holds the same weights; what differs is its part of each batch. A process
that was started alone is the same with nothing to exchange: `SINGLE_PROCESS`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from usae_train.runtime.errors import UsageError, shows_tracebacks, write_traceback
from usae_train.runtime.printing import one_line
from usae_train.runtime.shortage import is_fault, shortage
from usae_train.runtime.signals import Stopped

T = TypeVar("T")


@dataclass(frozen=True)
class DistributedContext:
    """This process among those that work as one.

    Attributes:
        rank: 0 to world_size - 1; the first alone writes files and shows progress.
        world_size: how many there are.
        weight: how much of the batch this one has, as a multiple of an equal part; see `sharing`.

    Every method that exchanges something must be called on all ranks alike.
    """

    rank: int = 0
    world_size: int = 1
    weight: float = 1.0

    @property
    def is_main(self) -> bool:
        """Whether this is the one that writes and shows."""
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """The weighted mean of a tensor over ranks, without a gradient."""
        if self.world_size == 1:
            return value
        return mean_over_ranks(value.detach() * self.weight, self.world_size)

    def weighted_by(self, rows: int) -> DistributedContext:
        """The same ranks where this one has so many rows of a batch, and others may have more or fewer.

        What each takes the mean of over its own rows is then weighted, so that the mean over ranks is that over all
        rows. Where no rank has one, all weigh the same.
        """
        if self.world_size == 1:
            return self
        mean = mean_over_ranks(torch.tensor(float(rows), dtype=torch.double), self.world_size).item()
        return replace(self, weight=rows / mean if mean else 1.0)

    def any(self, mask: Tensor) -> Tensor:
        """Where a mask is true on at least one rank."""
        if self.world_size == 1:
            return mask
        with _lost_others():
            marked = mask.to(torch.uint8)
            distributed.all_reduce(marked, distributed.ReduceOp.MAX)
        return marked.bool()

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their mean over ranks, so that each is the whole batch's; sparse ones stay sparse."""
        if self.world_size == 1:
            return
        gradients = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
        totals = [gradient.to_dense() if gradient.is_sparse else gradient for _, gradient in gradients]
        with _lost_others():
            exchanges = [distributed.all_reduce(total, async_op=True) for total in totals]
            for (parameter, gradient), total, exchange in zip(gradients, totals, exchanges, strict=True):
                exchange.wait()
                total /= self.world_size
                if gradient.is_sparse:  # all ranks' rows together are nearly all: to_dense loses little
                    parameter.grad = total.to_sparse(gradient.sparse_dim())

    def gather(self, value: T) -> list[T]:
        """What each rank has, in their order; numbers, strings, and lists or dicts of them."""
        if self.world_size == 1:
            return [value]
        gathered: list[Any] = [None] * self.world_size
        with _lost_others():
            distributed.all_gather_object(gathered, value)
        return gathered

    def all_gather_rows(self, rows: Tensor) -> Tensor:
        """Every rank's rows (own, ...) in the order of ranks: (all, ...), on each of them."""
        if self.world_size == 1:
            return rows
        lengths = self.gather(len(rows))
        gathered = rows.new_empty(sum(lengths), *rows.shape[1:])
        for number, part in enumerate(gathered.split(lengths)):
            if number == self.rank:
                part.copy_(rows)
            if len(part):
                with _lost_others():
                    distributed.broadcast(part.flatten().view(torch.uint8), number)
        return gathered

    def from_main(self, value: T) -> T:
        """What the first rank has, on every rank."""
        if self.world_size == 1:
            return value
        shared: list[Any] = [value]
        with _lost_others():
            distributed.broadcast_object_list(shared)
        first: T = shared[0]
        return first

    @contextmanager
    def raise_together(self) -> Iterator[None]:
        """What goes wrong within it on one rank goes wrong on all, reported once; nothing may be exchanged within it.

        A fault of ours stays one: the first rank's own is raised as it is, another's is reported with the file that
        has its traceback.

        Raises:
            ValueError: on the first rank, with the message of the first that failed.
            SystemExit: on the others, with status 1.
        """
        if self.world_size == 1:
            yield
            return
        failed: Exception | None = None
        try:
            yield
        except Stopped:  # an end, which all are asked for
            raise
        except Exception as error:
            failed = error
        messages = self.gather(None if failed is None else self._in_words(failed))
        wrong = [(number, message) for number, message in enumerate(messages) if message is not None]
        if not wrong:
            return
        number, message = wrong[0]
        if failed is not None and is_fault(failed) and (shows_tracebacks() or number == self.rank == 0):
            raise failed
        if not self.is_main:
            raise SystemExit(1) from failed
        raise UsageError(f"rank {number}: {message}" if number else message) from failed

    def _in_words(self, failed: Exception) -> str:
        if is_fault(failed) and not self.is_main:  # the first rank's is raised, and kept where all faults are
            return write_traceback(failed)
        return shortage(failed) or one_line(failed)

    def compute_on_main(self, compute: Callable[[], T]) -> T:
        """What the first rank finds, on every rank; what goes wrong there ends all, reported once."""
        with self.raise_together():
            results = [compute()] if self.is_main else []
        return self.from_main(results)[0]

    def local_batch(self, batch: int) -> int:
        """A rank's share of a batch.

        Raises:
            ValueError: when it cannot be divided evenly.
        """
        if batch % self.world_size:
            raise UsageError(
                f"--batch is {batch} tokens for {self.world_size} processes; expected a multiple of {self.world_size}, "
                f"such as {(batch // self.world_size + 1) * self.world_size}"
            )
        return batch // self.world_size

    def local_range(self, length: int, batch: int) -> range:
        """This rank's share of so many things in order, cut between batches, so that those are one process's."""
        batches = -(-length // batch)
        starts = [min(length, batches * number // self.world_size * batch) for number in range(self.world_size + 1)]
        return range(starts[self.rank], starts[self.rank + 1])


SINGLE_PROCESS = DistributedContext()


def mean_over_ranks(value: Tensor, count: int) -> Tensor:
    """The mean of all ranks' tensors, without a gradient."""
    with _lost_others():
        total = value.contiguous().clone()
        distributed.all_reduce(total)
    return total / count


def torchrun_context() -> DistributedContext:
    """This process as torchrun names it, without joining the others: for those that exchange nothing but files."""
    return DistributedContext(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


@contextmanager
def ranks_of_torchrun(device: str, patience: timedelta | None = None) -> Iterator[DistributedContext]:
    """Join the other processes that torchrun started; `SINGLE_PROCESS` where it did not.

    Args:
        device: what this rank computes on; gloo joins CPUs, nccl GPUs.
        patience: how long one waits for the others in an exchange; torch's own 30 minutes by default.

    Raises:
        ValueError: when the others cannot be reached.
    """
    if torchrun_context().world_size == 1:
        yield SINGLE_PROCESS
        return
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(device)
    # Its functions' defaults are the group at the moment when it is imported. AdamW and backbones import it; later than
    # here it would keep the group and gloo's threads, and these abort the process now and then when Python ends.
    importlib.import_module("torch.distributed.nn.functional")
    try:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=patience)
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"the other processes cannot be joined: {error}; start them with torchrun") from error
    fine = False
    try:
        yield DistributedContext(distributed.get_rank(), distributed.get_world_size())
        fine = True
    finally:
        if fine or not on_gpu:  # after an error nccl would wait for exchanges that others have begun
            distributed.destroy_process_group()


@contextmanager
def _lost_others() -> Iterator[None]:
    """An exchange that fails because another process has ended is not a traceback."""
    try:
        yield
    except RuntimeError as error:
        if shortage(error) is not None:
            raise
        reason = one_line(error)[:120]
        raise ConnectionError(f"another process has ended, and this one with it: see its message ({reason})") from error
