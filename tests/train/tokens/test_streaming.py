"""Pictures that stream through the backbones into training, a window at a time."""

from pathlib import Path

import pytest
import torch

import usae_train as ut
from usae_train.backbones.backbone import BackboneSpec, build_backbones
from usae_train.images.sources import open_images
from usae_train.runtime.signals import Stopped
from usae_train.tokens.feeding import Batches
from usae_train.tokens.paired import TokenSource, bytes_per_image, collect_tokens
from usae_train.tokens.streaming import StreamFeed
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.execution import Execution
from usae_train.training.fitting import feed_pictures, fit_pictures
from usae_train.training.logging.callbacks import FitCallbacks
from usae_train.training.resolving import fit_settings
from usae_train.training.settings import FitSettings

GRID = (2, 2)


@pytest.fixture
def stream(tiny_specs: dict[str, BackboneSpec], picture_folder: Path) -> StreamFeed:
    """Six pictures of four tokens, a window of two pictures."""
    backbones = build_backbones(tiny_specs)
    return StreamFeed(TokenSource(backbones, open_images(picture_folder), GRID), 2.5 * bytes_per_image(backbones, GRID))


def rows_of(tokens: torch.Tensor) -> list[tuple[float, ...]]:
    return sorted(tuple(row) for row in tokens.float().tolist())


def test_an_epoch_of_windows_has_every_picture_once(stream: StreamFeed) -> None:
    windows = stream.windows(torch.Generator().manual_seed(3))
    assert [len(window) for window in windows] == [2, 2, 2]
    assert sorted(number for window in windows for number in window) == list(range(6))
    assert windows != stream.windows(torch.Generator().manual_seed(4))
    assert (len(stream), stream.widths) == (24, {"vit": 32, "conv": 24})


def test_a_window_is_what_the_backbones_see(stream: StreamFeed) -> None:
    seen = collect_tokens(stream.origin, tried=[1, 4])
    loaded = stream.load([4, 1])
    assert all(torch.equal(loaded[name], own) for name, own in seen.flat().items())


def test_batches_show_every_token_once_an_epoch(stream: StreamFeed) -> None:
    everything = collect_tokens(stream.origin).flat()
    batches = Batches(stream, 8, torch.Generator().manual_seed(0))
    epoch = [batches.next() for _ in range(3)]
    for name, own in everything.items():
        assert rows_of(torch.cat([batch[name] for batch in epoch])) == rows_of(own)


def test_single_tokens_come_from_a_first_window(stream: StreamFeed) -> None:
    first = stream.first_window()
    assert len(first.numbers) == 2
    rows = torch.tensor([0, 7, 8, 23])
    picked = stream.pick(rows)
    assert all(torch.equal(picked[name], own[[0, 7, 0, 7]]) for name, own in first.flat().items())
    stream.load([0])
    assert torch.equal(stream.first_window().numbers, first.numbers)


def test_only_the_numbers_that_were_asked_for_are_shown(stream: StreamFeed) -> None:
    some = StreamFeed(stream.origin, 1e9, numbers=[1, 3, 5])
    assert some.first_window().numbers.tolist() == [1, 3, 5]
    assert len(some) == 12


def test_a_broken_picture_is_said_once(picture_folder: Path, stream: StreamFeed) -> None:
    (picture_folder / "3.png").write_text("broken")
    said: list[str] = []
    stream.broken.say = said.append
    for _ in range(2):
        assert [len(stream.load(window)["vit"]) for window in ([0, 3], [1, 2])] == [4, 8]
    assert [why[:5] for why in said] == ["3.png"]


@pytest.mark.parametrize("pictures_in_memory", [6, 2.5])
def test_too_many_broken_pictures_stop_a_training(
    tiny_specs: dict[str, BackboneSpec], picture_folder: Path, pictures_in_memory: float
) -> None:
    for name in ("0.png", "3.png"):
        (picture_folder / name).write_text("broken")
    memory = pictures_in_memory * bytes_per_image(build_backbones(tiny_specs), GRID) / 1e9

    def train(**told: float) -> ut.USAE:
        settings = fit_settings("default", n_concepts=8, k=2, steps=9, batch=5, **told)
        return fit_pictures(open_images(picture_folder), settings, tiny_specs, Execution(memory=memory))

    with pytest.raises(ValueError, match=r"of 6 pictures cannot be read, more than 1\.0%; the first: [03]\.png cannot"):
        train()
    with pytest.raises(ValueError, match=r"2 of 6 pictures cannot be read, more than 30\.0%"):
        train(max_broken=0.3)
    assert train(max_broken=0.34).measured_on.count == 6


@pytest.fixture
def narrow(tiny_specs: dict[str, BackboneSpec], picture_folder: Path) -> StreamFeed:
    """Six pictures of four tokens, a window of one picture: 0 and 3 are broken, and so are their windows."""
    for name in ("0.png", "3.png"):
        (picture_folder / name).write_text("broken")
    backbones = build_backbones(tiny_specs)
    return StreamFeed(TokenSource(backbones, open_images(picture_folder), GRID), 1.5 * bytes_per_image(backbones, GRID))


def test_a_window_of_broken_pictures_is_passed_over(narrow: StreamFeed) -> None:
    said: list[str] = []
    narrow.broken.say = said.append
    everything = collect_tokens(narrow.origin).flat()
    batches = Batches(narrow, 8, torch.Generator().manual_seed(0))
    for _ in range(3):
        epoch = [batches.next() for _ in range(2)]
        for name, own in everything.items():
            assert rows_of(torch.cat([batch[name] for batch in epoch])) == rows_of(own)
    assert sorted(why[:5] for why in said) == ["0.png", "3.png"]


def test_the_first_window_is_the_first_with_a_whole_picture(narrow: StreamFeed, picture_folder: Path) -> None:
    order = [number for (number,) in narrow.windows(torch.Generator().manual_seed(0))]
    for number in order[:2]:
        (picture_folder / f"{number}.png").write_text("broken")
    whole = [number for number in order[2:] if number not in (0, 3)]
    assert narrow.first_window().numbers.tolist() == whole[:1]


def test_pictures_of_which_none_can_be_read_end_a_stream(
    tiny_specs: dict[str, BackboneSpec], narrow: StreamFeed, picture_folder: Path
) -> None:
    batches = Batches(narrow, 8, torch.Generator().manual_seed(0))
    for number in range(6):
        (picture_folder / f"{number}.png").write_text("broken")
    ended = r"none of the 6 pictures of .* can be read; the first: \d\.png cannot be read"
    with pytest.raises(ValueError, match=ended):  # in the midst of a training
        batches.next()
    settings = fit_settings("default", n_concepts=8, k=2, steps=9, batch=5, max_broken=1)
    memory = 1.5 * bytes_per_image(narrow.origin.backbones, GRID) / 1e9
    with pytest.raises(ValueError, match=ended):
        fit_pictures(open_images(picture_folder), settings, tiny_specs, Execution(memory=memory))


def test_a_training_goes_on_bit_for_bit_through_windows_of_broken_pictures(
    tiny_specs: dict[str, BackboneSpec], narrow: StreamFeed, picture_folder: Path, tmp_path: Path
) -> None:
    settings = fit_settings("default", n_concepts=8, k=2, steps=9, batch=5, max_broken=0.34)
    memory = 1.5 * bytes_per_image(narrow.origin.backbones, GRID) / 1e9
    states = tmp_path / "states"

    def train() -> dict[str, torch.Tensor]:
        checkpointer = TrainingCheckpointer(states, minutes=0, keep=9)
        source = open_images(picture_folder)
        how = Execution(memory=memory, checkpointer=checkpointer)
        return fit_pictures(source, settings, tiny_specs, how).state_dict()

    whole = train()
    for last in (6, 3):  # 45 tokens are nearly three epochs of six windows, of which two are passed over
        for later in range(last + 1, 10):
            (states / f"step-{later:09d}.pt").unlink()
        assert all(torch.equal(value, whole[name]) for name, value in train().items())


def test_a_window_that_can_be_read_no_more_is_named_by_a_resume(narrow: StreamFeed, picture_folder: Path) -> None:
    batches = Batches(narrow, 5, torch.Generator().manual_seed(0))
    batches.next()
    ((number,),) = [batches.windows[batches.window]]
    (picture_folder / f"{number}.png").write_text("broken")
    again = Batches(narrow, 5, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"the window .* stopped in has 0 tokens, and had 4: other pictures"):
        again.load_state_dict(batches.state_dict())


def test_memory_for_not_one_picture_is_refused(stream: StreamFeed) -> None:
    with pytest.raises(ValueError, match=r"--memory is 1e-07 GB, too little for the tokens of one picture"):
        StreamFeed(stream.origin, 100)


def test_what_fits_is_kept_and_what_does_not_is_streamed(stream: StreamFeed) -> None:
    gigabytes = 6 * bytes_per_image(stream.origin.backbones, GRID) / 1e9

    def fed(most):
        return feed_pictures(stream.origin.backbones, stream.origin.source, GRID, FitSettings(), Execution(memory=most))

    assert not isinstance(fed(gigabytes)[0], StreamFeed)
    feed, sample = fed(0.99 * gigabytes)
    assert isinstance(feed, StreamFeed)
    assert feed.images_per_window == 5
    assert [len(lot.numbers) for lot in sample()] == [5, 1]


def test_a_stopped_training_on_a_stream_goes_on_bit_for_bit(
    tiny_specs: dict[str, BackboneSpec], picture_folder: Path, tmp_path: Path
) -> None:
    settings = fit_settings("default", n_concepts=8, k=2, steps=9, batch=5)
    memory = 2.5 * bytes_per_image(build_backbones(tiny_specs), GRID) / 1e9

    def train(checkpointer: TrainingCheckpointer | None, callbacks: FitCallbacks | None = None) -> ut.USAE:
        how = Execution(callbacks=callbacks or FitCallbacks(), checkpointer=checkpointer, memory=memory)
        return fit_pictures(open_images(picture_folder), settings, tiny_specs, how)

    whole = train(None)
    checkpointer = TrainingCheckpointer(tmp_path / "states", minutes=1000)

    def stop(step: int, figures: dict[str, object]) -> None:  # noqa: ARG001
        checkpointer._stop = step == 4

    with pytest.raises(Stopped):
        train(checkpointer, FitCallbacks(steps=stop))
    resumed = train(TrainingCheckpointer(tmp_path / "states", minutes=1000))
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
    assert whole.statistics is not None
    assert whole.statistics.counts[0] == 6
