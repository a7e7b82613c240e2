"""A pass that is stopped and resumed, or shared by processes, comes to what one undisturbed pass does."""

import threading

import pytest
import torch
from stores import FullDisk

from usae_train.evaluation.checkpointing import PassCheckpointer
from usae_train.evaluation.evaluate import Comparison, figures_of
from usae_train.evaluation.evaluation_pass import PassSettings, PassState, rank_share, run_pass
from usae_train.evaluation.measures import Measures
from usae_train.model.firing import FiringTally
from usae_train.model.sparse import Codes
from usae_train.model.usae import USAE
from usae_train.runtime.distributed import DistributedContext
from usae_train.runtime.signals import Stopped
from usae_train.tokens.paired import PairedTokens

IMAGES, TOKENS, BATCH = 26, 4, 4
SETTINGS = PassSettings(usae="abc", batch=BATCH)
BROKEN = 9


def a_usae(*names: str, seed: int = 0) -> USAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return USAE(dict.fromkeys(names, 6), n_concepts=10, k=3).eval().requires_grad_(False)


JOINT = a_usae("a", "b")
ALONE = {"a": a_usae("a", seed=1), "b": a_usae("b", seed=2)}


def stream(tried: range):
    """Pictures whose tokens depend on their number alone; one is broken."""
    for first in range(0, len(tried), BATCH):
        some = [number for number in tried[first : first + BATCH] if number != BROKEN]
        broken = ["9 is broken"] if BROKEN in tried[first : first + BATCH] else []
        every = torch.stack([torch.randn(2, TOKENS, 6, generator=torch.Generator().manual_seed(n)) for n in some])
        yield PairedTokens({"a": every[:, 0], "b": every[:, 1]}, torch.tensor(some), broken)


def fresh(processes: int = 1) -> PassState:
    return PassState(SETTINGS.model_copy(update={"processes": processes}), Measures(JOINT, ALONE, keep_codes=True))


def figures(state: PassState):
    return figures_of(JOINT, state.measures, Comparison(independent=ALONE))


@pytest.fixture(scope="module")
def undisturbed() -> PassState:
    state = fresh()
    assert run_pass(state, stream, IMAGES)
    return state


def assert_same(one: PassState, other: PassState, tolerance: float = 0.0) -> None:
    (report, statistics), (expected, wanted) = figures(one), figures(other)
    for name, value in vars(wanted).items():
        if value is not None:
            torch.testing.assert_close(
                getattr(statistics, name), value, rtol=tolerance, atol=tolerance, equal_nan=True, msg=name
            )
    assert same(report, expected, tolerance)
    assert one.failures == other.failures


def same(one, other, tolerance: float) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key], tolerance) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(same(a, b, tolerance) for a, b in zip(one, other, strict=True))
    return one == pytest.approx(other, abs=tolerance, nan_ok=True) if isinstance(one, float) else one == other


def test_every_picture_is_counted_once(undisturbed: PassState) -> None:
    assert undisturbed.measures.firing.counts.tolist() == [IMAGES - 1, (IMAGES - 1) * TOKENS]
    numbers, codes = undisturbed.measures.codes()
    assert sorted(numbers.tolist()) == [n for n in range(IMAGES) if n != BROKEN]
    assert codes["a"].values.shape == ((IMAGES - 1) * TOKENS, 3)
    assert undisturbed.failures == ["9 is broken"]


@pytest.mark.parametrize("stops", [(1,), (4, 2), (5,), (1, 1, 1, 1, 1, 1)])
def test_stopped_and_gone_on_with_it_is_the_same_to_the_last_bit(stops, undisturbed: PassState, tmp_path) -> None:
    for batches in stops:
        checkpointer = PassCheckpointer(tmp_path, minutes=1e9)
        left = iter(range(batches - 1))

        def stopping(done: int, total: int, left=left, checkpointer=checkpointer) -> None:  # noqa: ARG001
            if next(left, None) is None:
                checkpointer.stop()

        with pytest.raises(Stopped, match="run the same command again to resume"):
            run_pass(fresh(), stream, IMAGES, checkpointer, progress=stopping)
    state = fresh()
    assert run_pass(state, stream, IMAGES, PassCheckpointer(tmp_path, minutes=1e9))
    assert_same(state, undisturbed)


def test_what_was_begun_with_another_usae_is_not_gone_on_with(tmp_path) -> None:
    run_pass(fresh(), stream, IMAGES, PassCheckpointer(tmp_path, minutes=0))
    other = PassState(SETTINGS.model_copy(update={"usae": "other"}), Measures(JOINT, ALONE, keep_codes=True))
    with pytest.raises(ValueError, match="was begun with another usae; give the same settings, or remove it"):
        run_pass(other, stream, IMAGES, PassCheckpointer(tmp_path))


def test_three_processes_come_to_the_same(undisturbed: PassState, tmp_path) -> None:
    states = [fresh(3) for _ in range(3)]
    firsts = {}

    def work(rank: int) -> None:
        checkpointer = PassCheckpointer(tmp_path, rank, minutes=1e9)
        firsts[rank] = run_pass(states[rank], stream, IMAGES, checkpointer, DistributedContext(rank, 3))

    threads = [threading.Thread(target=work, args=(rank,), daemon=True) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert firsts == {0: True, 1: False, 2: False}
    assert_same(states[0], undisturbed, tolerance=1e-6)


def test_a_stop_while_waiting_for_the_others_loses_nothing(undisturbed: PassState, tmp_path) -> None:
    """One of two has matched its pictures, and the other has not begun."""
    checkpointer = PassCheckpointer(tmp_path, 0, minutes=1e9)
    of_matching = len(rank_share(undisturbed.measures.shares(IMAGES)[0], BATCH, DistributedContext(0, 2)))

    def stopping(done: int, total: int) -> None:  # noqa: ARG001
        if done == of_matching:  # the last batch of the half: what is kept of it is what is kept when it waits
            threading.Timer(0.05, checkpointer.stop).start()

    with pytest.raises(Stopped):
        run_pass(fresh(2), stream, IMAGES, checkpointer, DistributedContext(0, 2), stopping)
    kept = checkpointer.read(fresh(2).settings.model_dump(mode="json"))
    assert kept is not None
    assert (kept["half"], kept["done"]) == (0, of_matching)


def test_a_disk_that_fills_up_leaves_the_last_state_and_one_line(tmp_path) -> None:
    checkpointer = PassCheckpointer(tmp_path, minutes=1e9)
    checkpointer.write({"settings": {}, "done": 1})
    with FullDisk(3000), pytest.raises(ValueError, match=r"state-0\.pt cannot be written: File too large; free some"):
        checkpointer.write({"settings": {}, "done": 2, "tensor": torch.zeros(10_000)})
    assert [file.name for file in tmp_path.iterdir()] == ["state-0.pt"]
    assert checkpointer.read({})["done"] == 1


def test_processes_share_whole_batches() -> None:
    shares = [rank_share(range(1, 26, 2), 4, DistributedContext(rank, 3)) for rank in range(3)]
    assert [list(share) for share in shares] == [[1, 3, 5, 7], [9, 11, 13, 15], [17, 19, 21, 23, 25]]


def test_processes_without_a_place_to_meet_are_refused() -> None:
    with pytest.raises(ValueError, match="need a folder in common"):
        run_pass(fresh(2), stream, IMAGES, None, DistributedContext(0, 2))


def test_equal_codes_are_ordered_by_number_however_they_came() -> None:
    def tally_of(numbers: list[int]) -> FiringTally:
        tally = FiringTally(["a"], 2)
        for number in numbers:
            codes = Codes(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1, 0]]]))
            tally.add(torch.tensor([number]), {"a": codes})
        return tally

    forward, back = tally_of(list(range(12))), tally_of(list(range(11, -1, -1)))
    assert forward.statistics().top_images[0, 1].tolist() == list(range(8))
    assert back.statistics().top_images[0, 1].tolist() == list(range(8))
    first, second = tally_of([3, 9]), tally_of([1, 5])
    first.merge(second.state_dict())
    assert first.statistics().top_images[0, 1].tolist() == [1, 3, 5, 9]
    assert first.statistics().top_images[0, 0].tolist() == [-1] * 4
