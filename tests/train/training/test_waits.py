"""A training step on a GPU, laid out on torch's device `meta`: how often the processor waits for it."""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor
from waits import Waits

from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.transfers import index_of, read_numbers, to_device
from usae_train.training.checkpointing import TrainingCheckpointer, TrainingState
from usae_train.training.kernels.sparse_ops import first_of_each
from usae_train.training.kernels.topk_complement import topk_complement
from usae_train.training.loop import fit_tokens
from usae_train.training.settings import DEFAULT, PUBLISHED, FitSettings, TrainingRecipe
from usae_train.training.step import dead_concepts

ALL = DEFAULT.model_copy(update={"encoding": "all", "batch_norm": True})


class CountedSteps(TrainingCheckpointer):
    """What each step waited for; keeps no states."""

    def __init__(self, waits: Waits) -> None:
        super().__init__(Path(os.devnull))
        self.waits, self.steps = waits, list[Counter[str]]()

    def restore(self, state: TrainingState, ranks: DistributedContext = SINGLE_PROCESS) -> int:  # noqa: ARG002
        self.waits.found.clear()
        return 0

    def after(self, step: int, state: TrainingState, ranks: DistributedContext = SINGLE_PROCESS) -> None:  # noqa: ARG002
        self.steps.append(+self.waits.found)
        self.waits.found.clear()


@pytest.fixture(autouse=True)
def _fused_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's fused AdamW runs on a GPU and on the processor; `meta` stands for the first."""
    module = sys.modules["torch.optim.optimizer"]
    monkeypatch.setattr(module, "_get_fused_kernels_supported_devices", lambda: ["cpu", "meta"])


def waits_of_steps(recipe: TrainingRecipe, backbones: int) -> list[Counter[str]]:
    """Of four steps; the first and the last are logged."""
    tokens = {f"b{number}": torch.randn(64, 6 + number) for number in range(backbones)}
    settings = FitSettings(n_concepts=48, k=3, batch=32, steps=4, recipe=recipe)
    with Waits() as waits:
        counted = CountedSteps(waits)
        fit_tokens(tokens, settings, device="meta", checkpointer=counted, log_every=3)
    return counted.steps


@pytest.mark.parametrize("recipe", [DEFAULT, PUBLISHED, ALL], ids=["default", "published", "all"])
def test_a_step_waits_once_however_many_backbones_there_are(recipe: TrainingRecipe) -> None:
    few, many = waits_of_steps(recipe, 2), waits_of_steps(recipe, 5)
    assert few == many
    assert [sum(step.values()) for step in many[1:3]] == [1, 1]  # before: 21 with 3 backbones, `published` 10
    assert sum(many[3].values()) == 3  # and what a hundredth of the steps say of themselves


def test_where_each_number_begins_is_the_same_both_ways() -> None:
    ordered = torch.tensor([0, 0, 2, 2, 2, 5])
    assert first_of_each(ordered, 7).tolist() == [0, 2, 2, 5, 5, 5, 6]
    assert torch.searchsorted(ordered, torch.arange(7)).tolist() == first_of_each(ordered, 7).tolist()


def test_the_dead_are_the_same_however_they_are_counted() -> None:
    dead = torch.rand(3, 50, generator=torch.Generator().manual_seed(0)) < torch.tensor([[0.5], [0.0], [0.9]])
    found = dead_concepts(["a", "b", "c"], ["a", "b"], dead, dead.sum(1).tolist())
    assert found["a"].tolist() == dead[0].nonzero().squeeze(1).tolist()
    assert len(found["b"]) == len(found["c"]) == 0  # none is dead; not to be revived
    assert all(torch.equal(own, found[name]) for name, own in dead_concepts(["a", "b", "c"], "ab", dead).items())


def test_what_topk_leaves_out_is_the_same_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pre_codes = torch.randn(20, 12, generator=torch.Generator().manual_seed(0)) + torch.linspace(-1, 1, 20)[:, None]
    kept = (pre_codes.topk(3).indices + 12 * torch.arange(20)[:, None]).flatten()
    here = topk_complement(pre_codes, kept)
    monkeypatch.setattr("usae_train.training.kernels.topk_complement.on_cpu", lambda tensor: False)
    assert torch.equal(topk_complement(pre_codes, kept), here)


def test_numbers_are_read_as_they_are() -> None:
    tensors = torch.tensor(0.1), torch.tensor([2**24 + 1, 3]), torch.zeros(0), torch.tensor([True, False])
    assert read_numbers(*tensors) == [[tensors[0].item()], [2**24 + 1, 3], [], [1, 0]]


@pytest.mark.parametrize("rows", [[3], [1, 2, 3], [2, 0, 3]])
def test_rows_as_an_index(rows: list[int]) -> None:
    numbers = torch.arange(5)
    assert numbers[index_of(rows, numbers.device)].tolist() == rows


def test_what_is_on_a_device_already_stays_what_it_is() -> None:
    tensor = torch.zeros(2)
    assert to_device(tensor, "cpu") is tensor


def test_the_count_sees_what_waits() -> None:
    there = torch.zeros(8, device="meta")

    def read() -> list[object]:
        numbers = torch.tensor([1, 2], device="meta")
        found = [there.sum().item(), there.tolist(), there.nonzero(), there[there > 0], there[[1, 2]]]
        return [numbers, torch.ones(3).to("meta"), *found]

    def asked_for() -> list[Tensor]:
        return [torch.ones(3).to("meta", non_blocking=True), there[there.long()], torch.where(there > 0, there, 0.0)]

    with Waits() as waits:
        read()
    assert sum(waits.found.values()) == 7
    with Waits() as waits:
        asked_for()
        there[torch.tensor([1, 2])]  # an index in the processor's memory is sent
    assert +waits.found == {"index of the processor's": 1}
