"""Pretraining of all demo backbones: on a CPU as many at a time as there are cores, a process each.

Their layers are so small that a second core makes one training little faster; two trainings on two cores are nearly
twice as fast as one after the other.
"""

from __future__ import annotations

import queue
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing

from usae_train.demo.pretrain import PRETRAINING_STEPS, SPECS, pretrain
from usae_train.runtime.capacity import cores
from usae_train.runtime.progress import ProgressCallback
from usae_train.runtime.signals import handle_signals, status_of

POLL_SECONDS = 0.5  # seconds between two looks at the processes


def pretrain_all(folder: Path, seed: int, device: str, report: ProgressCallback, workers: int | None = None) -> None:
    """Train the backbones whose weights are not in `folder` yet; resume from the states that are.

    Args:
        folder: folder of `backbones/NAME.safetensors` and `states/NAME.pt`.
        seed: seed of everything.
        device: where to train.
        report: called with the backbone, the steps done, of how many, and the loss in words.
        workers: backbones trained at the same time, a process each; one per core by default, on a GPU one.

    Raises:
        ChildProcessError: when a process ended before its backbone was done; what it had is kept.
    """
    for name in SPECS:
        if _weights(folder, name).is_file():
            report(name, PRETRAINING_STEPS[name], PRETRAINING_STEPS[name], "done")
    missing = [name for name in SPECS if not _weights(folder, name).is_file()]
    workers = min(workers or (cores() if device == "cpu" else 1), len(missing))
    if workers > 1:
        jobs = {name: (name, folder, seed, device) for name in missing}
        in_processes(_pretrain_one, jobs, report, workers, max(1, cores() // workers))
        return
    for name in missing:
        _pretrain_one(name, folder, seed, device, report)


def _weights(folder: Path, name: str) -> Path:
    return folder / "backbones" / f"{name}.safetensors"


def _pretrain_one(name: str, folder: Path, seed: int, device: str, report: ProgressCallback) -> None:
    def losses(done: int, total: int, loss: float) -> None:
        report(name, done, total, f"loss {loss:.3f}")

    state = folder / "states" / f"{name}.pt"
    pretrain(name, _weights(folder, name), seed, device=device, checkpoint=state, report=losses)
    report(name, PRETRAINING_STEPS[name], PRETRAINING_STEPS[name], "done")


def in_processes(
    job: Callable[..., None], jobs: Mapping[str, tuple[Any, ...]], report: ProgressCallback, workers: int, threads: int
) -> None:
    """Run `job(*arguments, report)` for each of the named jobs, some at a time, each in a fresh process.

    SIGTERM ends them and this process, with status 143; a process whose parent was killed ends at its next report.

    Raises:
        ChildProcessError: when one of them ended with another status than 0; the others are ended then.
    """
    spawn = multiprocessing.get_context("spawn")
    reports: Any = spawn.Queue()
    waiting, running = list(jobs), dict[str, Any]()
    with handle_signals(_exit_by_signal, [signal.SIGTERM]):
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    name = waiting.pop(0)
                    arguments = (job, jobs[name], reports, threads)
                    started = spawn.Process(target=_process, args=arguments, daemon=True)
                    started.start()
                    running[name] = started
                _pass_on(reports, report)
                for name in [name for name, process in running.items() if not process.is_alive()]:
                    status = running.pop(name).exitcode
                    if status != 0:
                        raise ChildProcessError(
                            f"the training of backbone {name!r} ended with status {status}; "
                            "the same command resumes from its last state"
                        )
            _pass_on(reports, report)
        finally:
            for process in running.values():
                process.terminate()  # states are written whole or not at all
                process.join()


def _exit_by_signal(number: int) -> None:
    raise SystemExit(status_of(number))


def _pass_on(reports: Any, report: ProgressCallback) -> None:
    """Pass on what the processes have reported; waits at most `POLL_SECONDS`, and only for the first report."""
    try:
        report(*reports.get(timeout=POLL_SECONDS))
        while True:
            report(*reports.get_nowait())
    except queue.Empty:
        return


def _process(job: Callable[..., None], arguments: tuple[Any, ...], reports: Any, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its children
    torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()

    def report(*words: Any) -> None:
        if parent is not None and not parent.is_alive():  # it would write states beside those of the next one
            raise SystemExit(1)
        reports.put(words)

    job(*arguments, report)
