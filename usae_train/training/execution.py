"""How one fit is carried out: where, in how much memory, watched by whom."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.training.checkpointing import EXECUTION_DEFAULTS, TrainingCheckpointer
from usae_train.training.logging.callbacks import FitCallbacks


@dataclass(frozen=True)
class Execution:
    """What does not affect the result of a fit.

    Attributes:
        device: where to train.
        callbacks: callbacks for progress.
        checkpointer: writes training states, and resumes from the last.
        memory: GB of tokens held in memory at a time; a third of the machine's by default. Pictures whose tokens
            all fit go through the backbones once; otherwise they are streamed, once an epoch, in windows of random
            pictures. A store that is larger is gone through in windows of random slices of its shards.
        readers: processes that read pictures; 0 reads in this one.
        ranks: the processes that train as one.
    """

    device: torch.device | str = "cpu"
    callbacks: FitCallbacks = field(default_factory=FitCallbacks)
    checkpointer: TrainingCheckpointer | None = None
    memory: float | None = None
    readers: int = EXECUTION_DEFAULTS.readers
    ranks: DistributedContext = SINGLE_PROCESS


IN_THIS_PROCESS = Execution()  # on the CPU, without callbacks
