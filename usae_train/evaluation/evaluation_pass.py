"""One pass over pictures: stopped and resumed, alone or as one of several processes under torchrun.

The processes exchange files in one folder, which all of them must see: each writes its sums when it is done, and the
first adds them up. They exchange nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from pydantic import Field

from usae_train.evaluation.checkpointing import PassCheckpointer
from usae_train.evaluation.measures import Measures
from usae_train.evaluation.posthoc import PostHoc
from usae_train.evaluation.state_checks import check_matching, check_measures
from usae_train.files.tensor_checks import Damaged
from usae_train.files.torch_state import write_state
from usae_train.files.validation import FrozenModel
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.errors import UsageError
from usae_train.runtime.progress import CountCallback
from usae_train.runtime.workers import Job, JobReport, Workers
from usae_train.tokens.paired import PairedTokens

Stream = Callable[[range], Iterator[PairedTokens]]  # numbers of pictures -> their tokens, a batch at a time
POLL_SECONDS = 0.2  # between two looks for the others' files


class PassSettings(FrozenModel):
    """What a pass that was stopped must have in common with the one that resumes it."""

    measured: int = 3  # what is measured: 1 lacks the sums of the linear ceiling, 2 those of answers and pictures
    usae: str | None = None  # hash of its weights
    images: str = ""  # fingerprint
    independent: dict[str, str | None] = Field(default_factory=dict)  # hashes of theirs
    batch: int
    processes: int = 1
    dtype: str = "float32"  # what the backbones compute in
    seed: int = 0
    answers: bool = False  # whether classifiers are used
    judge: str | None = None  # hash of its weights, and what is read from it
    classes: str | None = None  # hash of the pictures' labels


@dataclass
class PassState:
    """How far a pass is."""

    settings: PassSettings
    measures: Measures
    half: int = 0
    done: int = 0  # pictures of this process's share of the half
    failures: list[str] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and strings only, so that it can be loaded without running code."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "measures": self.measures.state_dict(),
            "half": self.half,
            "done": self.done,
            "failures": self.failures,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from what `state_dict` returned.

        Raises:
            Damaged: for a state of another form.
        """
        if lacking := sorted({"measures", "half", "done", "failures"} - state.keys()):
            raise Damaged(f"it has no {', '.join(lacking)}")
        check_measures(state["measures"], self.measures)
        for key, most in (("half", self.measures.halves), ("done", 2**62)):
            if type(state[key]) is not int or not 0 <= state[key] <= most:
                raise Damaged(f"{key} is {state[key]!r}")
        if not isinstance(state["failures"], list) or not all(isinstance(why, str) for why in state["failures"]):
            raise Damaged("failures are not texts")
        self.measures.merge(state["measures"])  # which is empty
        self.half, self.done = state["half"], state["done"]
        self.failures = list(state["failures"])


def rank_share(numbers: range, batch: int, ranks: DistributedContext) -> range:
    """A process's part of some pictures: whole batches, so that batches do not depend on the number of processes."""
    batches = -(-len(numbers) // batch)
    first, last = (batches * rank // ranks.world_size * batch for rank in (ranks.rank, ranks.rank + 1))
    return numbers[first:last]


def run_pass(
    state: PassState,
    stream: Stream,
    n_images: int,
    checkpointer: PassCheckpointer | None = None,
    ranks: DistributedContext = SINGLE_PROCESS,
    progress: CountCallback = lambda done, total: None,
    workers: int = 1,
) -> bool:
    """Add up the measures of some pictures.

    Args:
        state: settings, and measures that are empty.
        stream: yields the tokens of pictures.
        n_images: how many there are.
        checkpointer: writes states, and resumes from the last; processes exchange sums in its folder.
        ranks: which of how many processes this is; a single one by default.
        progress: called after each batch with this process's pictures.
        workers: worker processes that share this one's pictures; the sums are the same to the bit.

    Returns:
        Whether this process has the sums of all, as the first has.

    Raises:
        Stopped: when asked to stop; the state is kept.
        ValueError: when the saved state has other settings, or several processes have no folder to share.
    """
    if ranks.world_size > 1 and checkpointer is None:
        raise UsageError("several processes need a folder in common; give a checkpointer")
    saved = checkpointer.read(state.settings.model_dump(mode="json")) if checkpointer is not None else None
    if saved is not None:
        assert checkpointer is not None
        with checkpointer.naming_folder():
            state.load_state_dict(saved)
    shares = [rank_share(numbers, state.settings.batch, ranks) for numbers in state.measures.shares(n_images)]
    while state.half < len(shares):
        remaining = shares[state.half][state.done :]
        before = sum(map(len, shares[: state.half]))
        for read, failures in _add_batches(state, stream, remaining, workers):
            state.failures.extend(failures)
            state.done += read + len(failures)
            progress(before + state.done, sum(map(len, shares)))
            if checkpointer is not None and checkpointer.due:
                checkpointer.write(state.state_dict())
                checkpointer.check()
        if state.measures.posthoc is not None and state.half == 0:
            _align(state, state.measures.posthoc, checkpointer, ranks)
        state.half, state.done = state.half + 1, 0
    _merge_others(state, checkpointer, ranks)
    return ranks.is_main


def _align(
    state: PassState, posthoc: PostHoc, checkpointer: PassCheckpointer | None, ranks: DistributedContext
) -> None:
    """Align independent SAEs by all processes' sums over the first half."""
    if checkpointer is not None and ranks.world_size > 1:  # a stop may come while it waits for the others
        checkpointer.write(state.state_dict())
    for other in _exchange(posthoc.matching_state(), "matching", state.settings, checkpointer, ranks):
        assert checkpointer is not None
        with checkpointer.naming_folder():
            check_matching(other, posthoc)
        posthoc.merge_matching(other)
    posthoc.align()


def _merge_others(state: PassState, checkpointer: PassCheckpointer | None, ranks: DistributedContext) -> None:
    """Add up all processes' sums in the first one."""
    if checkpointer is not None:
        checkpointer.write(state.state_dict())
    last = {"measures": state.measures.state_dict(), "failures": state.failures}
    for other in _exchange(last, "all", state.settings, checkpointer, ranks, at_first_only=True):
        assert checkpointer is not None
        with checkpointer.naming_folder():
            check_measures(other.get("measures"), state.measures)
        state.measures.merge(other["measures"])
        state.failures.extend(other["failures"])


def _add_batches(state: PassState, stream: Stream, remaining: range, workers: int) -> Iterator[tuple[int, list[str]]]:
    """Add pictures to the sums; yields after each batch how many could be read, and why others could not."""
    measures, half, batch = state.measures, state.half, state.settings.batch
    batches = [remaining[first : first + batch] for first in range(0, len(remaining), batch)]
    if workers == 1 or len(batches) == 1:
        for paired in stream(remaining) if len(remaining) else ():
            if len(paired.numbers):
                measures.add(paired, half)
            yield len(paired.numbers), paired.failures
        return

    def job(tried: range) -> Job[tuple[int, list[str], Any]]:
        def compute(report: JobReport) -> tuple[int, list[str], Any]:  # noqa: ARG001
            (paired,) = stream(tried)
            return len(paired.numbers), paired.failures, measures.compute_sums(paired, half)

        return compute

    with Workers([job(tried) for tried in batches], workers, handles_ctrl_c=False) as working:
        for read, failures, sums in working.results():
            if read:
                measures.add_sums(sums, half)
            yield read, failures


def _exchange(
    sums: dict[str, Any],
    what: str,
    settings: PassSettings,
    checkpointer: PassCheckpointer | None,
    ranks: DistributedContext,
    at_first_only: bool = False,
) -> Iterator[dict[str, Any]]:
    """Write this process's sums and yield the others', in the order of ranks: all processes add them up alike."""
    if ranks.world_size == 1:
        return
    assert checkpointer is not None
    run = sha256(settings.model_dump_json().encode()).hexdigest()[:8]
    files = [checkpointer.folder / f"{what}-{run}-{rank}.pt" for rank in range(ranks.world_size)]
    write_state(sums, files[ranks.rank])
    if at_first_only and not ranks.is_main:
        return
    others = [file for rank, file in enumerate(files) if rank != ranks.rank]
    while not all(file.is_file() for file in others):
        checkpointer.check()
        time.sleep(POLL_SECONDS)
    for file in others:  # one in memory at a time
        yield checkpointer.read_other(file)
