"""Tokens in memory that are standardized once."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toys import WIDTHS, toy_settings, toy_tokens

from usae_train.model.usae import USAE
from usae_train.runtime.distributed import SINGLE_PROCESS
from usae_train.tokens.feeding import Batches, MemoryFeed
from usae_train.training import loop, standardized_window
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.loop import fit_tokens
from usae_train.training.settings import DEFAULT, PUBLISHED, FitSettings, TrainingRecipe
from usae_train.training.standardized_window import StandardizedWindow, pays_to_standardize_once

LONG = toy_settings(DEFAULT, steps=12)


def assert_same(trained: USAE, expected: USAE) -> None:
    for (name, tensor), other in zip(trained.state_dict().items(), expected.state_dict().values(), strict=True):
        assert torch.equal(tensor, other), name


@pytest.mark.parametrize("recipe", [DEFAULT, PUBLISHED], ids=lambda recipe: recipe.name)
def test_a_training_is_the_same_to_the_bit_as_one_that_standardizes_each_batch(
    recipe: TrainingRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, once = toy_settings(recipe, steps=12), []
    monkeypatch.setattr(StandardizedWindow, "__call__", counted(StandardizedWindow.__call__, once))
    standardized_once = fit_tokens(toy_tokens(), settings)
    assert len(once) == 1
    monkeypatch.setattr(loop, "pays_to_standardize_once", lambda *_: False)
    assert_same(standardized_once, fit_tokens(toy_tokens(), settings))
    assert len(once) == 1


def counted(function, calls: list[int]):  # type: ignore[no-untyped-def]
    """The function, which adds 1 to a list when it is called."""

    def call(*args: object) -> object:
        calls.append(1)
        return function(*args)

    return call


def test_it_is_resumed_to_the_bit_and_the_given_tokens_stay_as_they_are(tmp_path: Path) -> None:
    given = toy_tokens()
    whole = fit_tokens(given, LONG)
    assert all(torch.equal(tokens, given[name]) for name, tokens in toy_tokens().items())

    class StopsAfterFive(TrainingCheckpointer):
        def after(self, step: int, *others: object) -> None:
            super().after(step, *others)  # type: ignore[arg-type]
            if step == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_tokens(given, LONG, checkpointer=StopsAfterFive(tmp_path, minutes=0))
    assert_same(fit_tokens(given, LONG, checkpointer=TrainingCheckpointer(tmp_path)), whole)


def test_it_is_done_where_all_tokens_are_in_memory_and_shown_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def pays(settings: FitSettings, device: str = "cpu", ranks: int = 1) -> bool:
        return pays_to_standardize_once(feed, settings, device, replace(SINGLE_PROCESS, world_size=ranks))

    feed = MemoryFeed(toy_tokens())
    assert pays(LONG)
    one_epoch = len(feed) // LONG.batch
    assert not pays(LONG.model_copy(update={"steps": one_epoch}))
    assert not pays(LONG.model_copy(update={"mask_outliers": True}))
    assert not pays(LONG, device="cuda")
    assert not pays(LONG, ranks=2)
    monkeypatch.setattr(MemoryFeed, "windows", lambda *_: [[0], [0]])
    assert not pays(LONG)
    monkeypatch.undo()
    size = 4 * len(feed) * sum(WIDTHS.values())
    for memory, expected in ((2 * size - 1, False), (2 * size, True)):  # what --memory allows is for both
        feed.memory = memory
        assert pays(LONG) == expected
    for free, expected in ((3 * size, False), (3 * size + 3, True)):
        monkeypatch.setattr(standardized_window, "free_memory", lambda free=free: free)
        assert pays(LONG) == expected


def test_batches_count_the_bytes_that_were_read_and_not_those_that_were_made() -> None:
    feed = MemoryFeed({name: tokens.half() for name, tokens in toy_tokens().items()})
    usae = loop.new_usae(WIDTHS, LONG)
    batches = Batches(feed, 4, torch.Generator().manual_seed(0), StandardizedWindow(usae, 3))
    assert batches.bytes_read == 2 * len(feed) * sum(WIDTHS.values())
    shown = batches.next()
    assert {name: (tokens.shape, tokens.dtype) for name, tokens in shown.items()} == {
        name: ((4, width), torch.float32) for name, width in WIDTHS.items()
    }
