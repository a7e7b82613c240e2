"""Worker processes, which share a command's work: one thread each, begun as copies of the command's own process.

A copy (`fork`) has all that was loaded, without loading it again or taking memory for it, and can do any function. It
is safe while no other thread computes: so a command that may have workers takes one thread from its beginning
(`one_thread`). Jobs go out by number, in order; what they come to comes back through a pipe, and nothing else is
shared. A worker that is killed costs the job that it was at, which is done again.
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from types import FrameType
from typing import Any, Generic, NoReturn, TypeVar

from usae_train.runtime.errors import UsageError, write_traceback
from usae_train.runtime.printing import say_error
from usae_train.runtime.signals import handle_signals

Outcome = TypeVar("Outcome")
JobReport = Callable[[Any], None]  # takes what a job reports while it runs, something small
Job = Callable[[JobReport], Outcome]

TRIES_OF_A_JOB = 3  # of a job whose worker is killed
STOP = signal.SIGUSR1  # to a worker: a terminal's Ctrl-C goes to all processes, and is the command's to answer
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class JobInterrupted(KeyboardInterrupt):
    """A job that Ctrl-C ended without a result."""


@dataclass
class _Worker:
    pid: int
    pipe: Connection
    job: int | None = None


@dataclass
class Workers(Generic[Outcome]):
    """Jobs, and the processes that do them; with one worker or one job all is done in this process, when asked for.

    To be entered: the workers begin then, and end with it. Ctrl-C within it lets no job begin that has not, and is a
    KeyboardInterrupt in those that have; a second one is a KeyboardInterrupt here. Workers ignore it otherwise.

    Attributes:
        jobs: each is called with a function that hands what it is given to `reported`.
        count: how many workers.
        reported: called with a job's number and what it reports.
        handles_ctrl_c: whether Ctrl-C does that; else it is handled as it was before.
    """

    jobs: Sequence[Job[Outcome]]
    count: int
    reported: Callable[[int, Any], None] = lambda number, words: None
    handles_ctrl_c: bool = True
    stopped: bool = False
    _left: deque[int] = field(default_factory=deque)
    _results: dict[int, tuple[Outcome | None, BaseException | None]] = field(default_factory=dict)
    _tries: dict[int, int] = field(default_factory=dict)
    _workers: list[_Worker] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Workers[Outcome]:
        self._left.extend(range(len(self.jobs)))
        if self.is_parallel:
            if self.handles_ctrl_c:
                self._stack.enter_context(handle_signals(self._stop, (signal.SIGINT,)))
            gc.freeze()  # a collection would write into every page that a worker has in common with this process
            self._stack.callback(gc.unfreeze)
            self._stack.callback(self._end)
            self._fill()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    @property
    def is_parallel(self) -> bool:
        """Whether there are workers."""
        return min(self.count, len(self.jobs)) > 1

    def result(self, number: int) -> Outcome:
        """What a job came to; waits for it. A result is handed out once, an error each time that it is asked for.

        Raises:
            Exception: what the job raised.
            JobInterrupted: when Ctrl-C came before it was begun, or had come to anything.
            ChildProcessError: when its workers were killed, again and again.
        """
        if not self.is_parallel:
            return self.jobs[number](lambda words: self.reported(number, words))
        self._receive(0)
        while number not in self._results:
            if self.stopped and number in self._left:
                raise JobInterrupted
            if number not in self._left and all(worker.job != number for worker in self._workers):
                raise RuntimeError(f"the result of job {number} was handed out before")  # no worker would send it
            self._receive(None)
        result, error = self._results[number]
        if isinstance(error, KeyboardInterrupt):
            raise JobInterrupted
        if error is not None:
            raise error
        del self._results[number]
        return result  # type: ignore[return-value]

    def results(self) -> Iterator[Outcome]:
        """What all jobs came to, in their order, each as soon as it and those before it are done; see `result`."""
        return (self.result(number) for number in range(len(self.jobs)))

    def _receive(self, seconds: float | None) -> None:
        """Take in all that workers send, for at most this long; None waits for one that is at a job, if one is."""
        self._fill()
        if seconds is None and all(worker.job is None for worker in self._workers):
            return  # Ctrl-C came since it was asked whether it had
        by_pipe = {worker.pipe: worker for worker in self._workers}
        while ready := wait(list(by_pipe), seconds):
            for pipe in ready:
                worker = by_pipe[pipe]  # type: ignore[index]
                try:
                    kind, value = pickle.loads(worker.pipe.recv_bytes())
                except (EOFError, OSError):
                    self._requeue_job_of(worker)
                    return
                assert worker.job is not None
                if kind == "report":
                    self.reported(worker.job, value)
                    continue
                self._results[worker.job] = (value, None) if kind == "result" else (None, value)
                worker.job = None
                self._give(worker)
            seconds = 0

    def _fill(self) -> None:
        """Give idle workers what there is to do, and begin others until there are as many as there may be."""
        for worker in self._workers:
            if worker.job is None:
                self._give(worker)
        while self._left and not self.stopped and len(self._workers) < self.count:
            try:
                self._workers.append(self._start_worker())
            except OSError:  # no further process: those that are there do it
                if not self._workers:
                    raise
                return
            self._give(self._workers[-1])

    def _start_worker(self) -> _Worker:
        our_end, worker_end = Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            for other in (our_end, *(worker.pipe for worker in self._workers)):
                other.close()  # or it would not be seen when this process is gone
            _work(self.jobs, worker_end, parent)
        worker_end.close()
        return _Worker(pid, our_end)

    def _give(self, worker: _Worker) -> None:
        if self._left and not self.stopped:
            worker.job = self._left.popleft()
            try:
                worker.pipe.send_bytes(pickle.dumps(worker.job))
            except OSError:  # it is dead, and is found so when it is read from
                return

    def _requeue_job_of(self, worker: _Worker) -> None:
        """A worker is gone: what it was at is done again, by another."""
        self._workers.remove(worker)
        worker.pipe.close()
        status = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
        if worker.job is None:
            return
        tries = self._tries[worker.job] = self._tries.get(worker.job, 0) + 1
        if tries < TRIES_OF_A_JOB:
            self._left.appendleft(worker.job)
            return
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        why = f"{TRIES_OF_A_JOB} workers ended {how} at the same job; if memory ran out, lower --workers"
        self._results[worker.job] = None, ChildProcessError(why)

    def _stop(self, number: int) -> None:  # noqa: ARG002
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        for worker in self._workers:
            os.kill(worker.pid, STOP)

    def _end(self) -> None:
        while self._workers:
            worker = self._workers.pop()  # first of all: Ctrl-C stops those that are in it, and this one is gone soon
            worker.pipe.close()
            os.kill(worker.pid, signal.SIGKILL)  # it has done its jobs, or nobody wants to know any more
            os.waitpid(worker.pid, 0)


def one_thread() -> None:
    """Let torch compute with one thread from now on: pictures are then the same to the bit on every machine."""
    import torch

    torch.set_num_threads(1)


class _Interruptible:
    """In a worker: a stop is a KeyboardInterrupt within the job, once, and waits while something is being sent."""

    def __init__(self) -> None:
        self.interrupted = self.raised = self.busy = False
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(STOP, self._handle_stop)

    def _handle_stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.interrupted = True
        self.check()

    def check(self) -> None:
        """Raise KeyboardInterrupt where it was asked for and something can be interrupted."""
        if self.interrupted and self.busy and not self.raised:
            self.raised = True
            raise KeyboardInterrupt


def _work(jobs: Sequence[Job[Any]], pipe: Connection, parent: int) -> NoReturn:
    """A worker's life; the process ends with it, and nothing of the command's own is run."""
    status = 1
    try:
        _end_with(parent)
        # the command's may be held by a thread that shows its progress, and is not here
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        signals = _Interruptible()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        one_thread()
        while True:
            number = pickle.loads(pipe.recv_bytes())
            _do(jobs[number], pipe, signals)
    except (EOFError, OSError):  # the command is gone, or needs no more
        status = 0
    except BaseException as error:
        say_error(write_traceback(error))
    finally:
        os._exit(status)


def _do(job: Job[Any], pipe: Connection, signals: _Interruptible) -> None:
    def report(words: Any) -> None:
        signals.busy = False
        pipe.send_bytes(pickle.dumps(("report", words)))
        signals.busy = True
        signals.check()

    try:
        try:
            signals.busy = True
            signals.check()
            result = job(report)
        finally:
            signals.busy = False
        message = pickle.dumps(("result", result))
    except BaseException as error:
        message = pickle.dumps(("failed", _as_sent(error)))
    pipe.send_bytes(message)


def _as_sent(error: BaseException) -> BaseException:
    """An error that another process can read: itself, or the nearest of Python's own with its words."""
    if not isinstance(error, UsageError | OSError | MemoryError | KeyboardInterrupt):
        error.add_note("".join(traceback.format_exception(error)))  # a traceback stays where it was raised
    try:
        read: BaseException = pickle.loads(pickle.dumps(error))
    except Exception:
        kinds = (UsageError, ValueError, OSError, MemoryError)
        nearest = next((kind for kind in kinds if isinstance(error, kind)), RuntimeError)
        return nearest(str(error))
    return read


def _end_with(parent: int) -> None:
    """Let the kernel end this process when its parent ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
