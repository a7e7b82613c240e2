"""Two processes train and extract as one; what goes wrong in one of them is said once and hangs nobody."""

import json
import os
import socket
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from real_recipe import OF_0_8
from stores import SPECS, make_pictures, write
from torch import multiprocessing
from toys import WIDTHS, toy_settings, toy_tokens

from usae_train.images.sources import open_images
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext, ranks_of_torchrun
from usae_train.runtime.errors import UsageError
from usae_train.tokens.extract import extract, plan_extraction
from usae_train.tokens.feeding import Batches, MemoryFeed, StoreFeed
from usae_train.tokens.rank_batches import RankBatches, rank_rows
from usae_train.tokens.settings import ExtractSettings
from usae_train.tokens.store import ActivationStore, read_record
from usae_train.training.loop import fit_tokens, new_usae
from usae_train.training.settings import PUBLISHED
from usae_train.training.sync_batch_norm import share_statistics

# By the calmer recipe of 0.8: what another order of sums does is not made as large so soon.
RECIPES = {"default": OF_0_8.model_copy(update={"dead_after": 2}), "published": PUBLISHED}


def test_alone_changes_nothing():
    value = torch.tensor([1.0, 2.0])
    assert SINGLE_PROCESS.is_main
    assert SINGLE_PROCESS.mean(value) is value
    assert SINGLE_PROCESS.any(value) is value
    assert SINGLE_PROCESS.gather(3) == [3]
    assert SINGLE_PROCESS.from_main("x") == "x"
    assert SINGLE_PROCESS.local_batch(7) == 7
    usae = new_usae(WIDTHS, toy_settings(PUBLISHED))
    norm = usae.encoder("a").norm
    share_statistics(usae, SINGLE_PROCESS)
    assert usae.encoder("a").norm is norm
    with ranks_of_torchrun("cpu") as ranks:
        assert ranks is SINGLE_PROCESS


def test_a_batch_that_cannot_be_divided_says_what_could():
    with pytest.raises(ValueError, match="--batch is 7 tokens for 2 processes; expected a multiple of 2, such as 8"):
        DistributedContext(0, 2).local_batch(7)


def test_own_rows_by_hand():
    """A batch is 4, and the window before gave 3 of one: its last place, which is rank 1's, is filled first."""
    order = torch.tensor([5, 3, 0, 4, 1, 2])
    assert rank_rows(order, 4, 3, DistributedContext(0, 2)).tolist() == [0, 1, 2]  # of 3 0 4 1: 0 1; of 2: 2
    assert rank_rows(order, 4, 3, DistributedContext(1, 2)).tolist() == [5, 3, 4]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("offset", [0, 5, 11])
def test_the_ranks_parts_are_the_batches(count, offset):
    order = torch.randperm(100, generator=torch.Generator().manual_seed(count))
    parts = [rank_rows(order, 12, offset, DistributedContext(number, count)) for number in range(count)]
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(100))
    taken = [0] * count
    first = 12 - offset
    for piece in (order[:first], *order[first : -((100 - first) % 12) or None].split(12)):
        seen = []
        for number, part in enumerate(parts):
            own = [row for row in part[taken[number] :].tolist() if row in piece.tolist()]
            assert part[taken[number] : taken[number] + len(own)].tolist() == own
            taken[number] += len(own)
            seen += own
            if len(piece) == 12:
                assert len(own) == 12 / count
        assert sorted(seen) == sorted(piece.tolist())


def test_a_rank_reads_its_own_share_of_the_shards_and_little_more():
    """A tenth of the window is beyond four standard deviations of where a batch of 1000 is cut."""
    order = torch.randperm(20_000, generator=torch.Generator().manual_seed(0))
    for number in range(4):
        rows = rank_rows(order, 1000, 0, DistributedContext(number, 4))
        assert rows.min() > (number / 4 - 0.1) * 20_000
        assert rows.max() < ((number + 1) / 4 + 0.1) * 20_000


class Apart(DistributedContext):
    """Ranks that have nothing to say to each other, so that one process can be each in turn."""

    def raise_together(self):
        return nullcontext()


class Told(DistributedContext):
    """A rank of two, that is told what the other says."""

    def gather(self, value):
        return [value, OTHER.get("says")] if self.is_main else [OTHER.get("says"), value]


OTHER: dict[str, str] = {}


def ended(number: int, error: Exception | None) -> BaseException:
    with pytest.raises((Exception, SystemExit)) as found, Told(number, 2).raise_together():  # noqa: PT012
        if error is not None:
            raise error
    return found.value


def test_a_fault_of_ours_stays_one_under_torchrun(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fault = ValueError("shapes do not fit")
    monkeypatch.setattr(f"{__name__}.OTHER", {})
    assert ended(0, fault) is fault  # whose traceback is kept where the command keeps all of them
    heard = []
    monkeypatch.setattr(Told, "gather", lambda self, value: [heard.append(value), value])
    assert isinstance(ended(1, fault), SystemExit)
    (file,) = tmp_path.glob("usae-*.txt")
    assert heard[0].startswith("a bug in usae, ValueError: shapes do not fit")
    assert str(file) in heard[0]
    assert "ValueError: shapes do not fit" in file.read_text()
    monkeypatch.setenv("USAE_TRACEBACK", "1")
    assert ended(1, fault) is fault


def test_what_another_rank_says_is_said_once(monkeypatch):
    monkeypatch.setattr(f"{__name__}.OTHER", {"says": "its disk is gone"})
    told = ended(0, None)
    assert (type(told), str(told)) == (UsageError, "rank 1: its disk is gone")
    assert isinstance(ended(1, UsageError("here too")), SystemExit)


@pytest.mark.parametrize("shards_at_once", [1, 2, 3])
def test_batches_of_a_store_are_those_of_one_process_over_many_windows(tmp_path, shards_at_once):
    store = write(make_pictures(tmp_path / "pictures"), tmp_path / "store")
    feed = StoreFeed(store, store.bytes / len(store) * 4 * shards_at_once)
    assert feed.slices_per_window == shards_at_once
    one, *two = (
        Batches(feed, 12, torch.Generator().manual_seed(0)),
        *(RankBatches(feed, 12, torch.Generator().manual_seed(0), Apart(number, 2)) for number in range(2)),
    )
    for step in range(12):
        whole, parts = one.next(), [batches.next() for batches in two]
        for name, own in whole.items():
            assert [len(part[name]) for part in parts] == [6, 6]
            joined = torch.cat([part[name] for part in parts])
            assert torch.equal(joined.float().sort(0).values, own.float().sort(0).values)
        assert one.bytes_read == two[0].bytes_read == two[1].bytes_read
        if step == 7:  # go on in the midst of a window, from what either kind has kept
            two[0].load_state_dict(one.state_dict())
            two[1].load_state_dict(two[0].state_dict())


def outlying() -> dict[str, torch.Tensor]:
    """The first 28 of 64 tokens are outliers: the first rank has the first of each batch, and often no others."""
    tokens = toy_tokens()
    tokens["a"][:28] *= 30
    return tokens


# bfloat16 makes a last bit's difference large
@patch("usae_train.training.step.product_dtype", lambda device: torch.float32)
@patch("usae_train.training.kernels.products.product_dtype", lambda device: torch.float32)
def run_fits(ranks: DistributedContext, folder: Path) -> dict[str, list]:
    """Every kind of fit; the figures of each, and the weights in the folder."""
    store = ActivationStore(folder / "store")
    one_shard = store.bytes / len(store) * 4
    feeds = {
        "memory": lambda: MemoryFeed(toy_tokens()),
        "window": lambda: StoreFeed(store, 1e9),
        "shards": lambda: StoreFeed(store, one_shard),
        "masked": lambda: MemoryFeed(outlying()),
    }
    lines: dict[str, list] = {}
    for kind, feed in feeds.items():
        for name, recipe in RECIPES.items():
            # many, so that some die; not of the store's 40 tokens, where concepts alike from the start tie in TopK
            size = {"n_concepts": 96 if kind == "memory" else 24, "mask_outliers": kind == "masked"}
            settings = toy_settings(recipe, steps=12, batch=12, **size)
            key = f"{kind}-{name}"
            lines[key] = []
            usae = fit_tokens(
                feed(),
                settings,
                log_every=1,
                ranks=ranks,
                progress=lambda step, figures, key=key: lines[key].append({"step": step, **figures}),
            )
            torch.save(usae.state_dict(), folder / f"{key}-{ranks.rank}of{ranks.world_size}.pt")
    return lines


def run_rank(number: int, folder: Path, port: int) -> None:
    os.environ |= {
        "RANK": str(number),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    with ranks_of_torchrun("cpu") as ranks:
        lines = run_fits(ranks, folder)
        source = open_images(folder / "pictures")
        extract(
            source,
            plan_extraction(source, SPECS)[0],
            folder / "two",
            ExtractSettings(image_batch=2, max_broken=0.2),
            images_per_shard=4,
            ranks=ranks,
        )
        sparse = torch.nn.Parameter(torch.zeros(4, 2))
        sparse.grad = torch.sparse_coo_tensor([[number, 3]], [[1.0, 2.0], [4.0, 6.0]], (4, 2))
        ranks.average_gradients([sparse])
        lines["sparse"] = [sparse.grad.is_sparse, sparse.grad.to_dense().tolist()]
        try:
            with ranks.raise_together():
                if number == 1:
                    raise UsageError("its disk is gone")
        except ValueError as error:
            lines["together"] = [str(error)]
        except SystemExit as ended:
            lines["together"] = [ended.code]
        (folder / f"lines-{number}.json").write_text(json.dumps(lines))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What two processes and what one made: (folder, lines of rank 0, of rank 1, of one process)."""
    folder = tmp_path_factory.mktemp("distributed")
    write(make_pictures(folder / "pictures"), folder / "store")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(run_rank, (folder, port), nprocs=2)
    first, second = (json.loads((folder / f"lines-{number}.json").read_text()) for number in range(2))
    return folder, first, second, run_fits(SINGLE_PROCESS, folder)


KINDS = [f"{kind}-{recipe}" for kind in ("memory", "window", "shards", "masked") for recipe in RECIPES]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_have_the_losses_of_one(trained, kind):
    """Sums are taken in another order, and AdamW makes rounding in small gradients larger from step to step.

    Where two concepts nearly tie for a token's last place, rounding decides which one it gets, and the figures jump:
    R² by 0.13 at one of the 72 steps here, seen with two threads, against 2e-4 elsewhere. On another processor three
    steps of one kind did. So four of twelve may differ.
    """
    _, first, second, alone = trained
    assert [line["loss"] for line in first[kind]] == [line["loss"] for line in second[kind]]
    apart = 0
    for two, one in zip(first[kind], alone[kind], strict=True):
        assert (two["step"], two["gb_read"]) == (one["step"], one["gb_read"])
        # another order of the same batch in one process moves these losses by up to 1.3e-5 (shards-default)
        loss = pytest.approx(one["loss"], rel=1e-5 if one["step"] <= 3 else 1e-4)
        apart += (two["loss"], two["dead"]) != (loss, one["dead"]) or any(
            two[matrix][source] != pytest.approx(row, rel=1e-3, abs=1e-3)
            for matrix in ("pair_loss", "r2")
            for source, row in one[matrix].items()
        )
    assert apart <= 4
    assert len(first[kind]) == 12
    if kind == "memory-default":
        assert max(first[kind][-1]["dead"].values()) > 0  # so that their loss is compared as well


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_have_the_weights_of_one(trained, kind):
    folder = trained[0]
    first, second, alone = (
        torch.load(folder / f"{kind}-{which}.pt", weights_only=True) for which in ("0of2", "1of2", "0of1")
    )
    assert first.keys() == alone.keys()
    for name, value in alone.items():
        assert torch.equal(first[name], second[name])
        # BatchNorm takes away what the bias before it adds: its gradient is rounding, which AdamW makes as large as any
        if kind.endswith("default") or not name.endswith(("linear.bias", "running_mean")):
            # with so many concepts a learning rate changed by 1e-7 moves the weights by 8e-3; a token's last place that
            # another concept gets (see above), by 1e-2
            tolerance = 2e-2 if kind.endswith("default") else 1e-3
            assert (first[name] - value).float().norm() <= tolerance * value.float().norm()


@pytest.mark.slow
def test_two_processes_extract_the_store_of_one(trained):
    folder = trained[0]
    one, two = read_record(folder / "store"), read_record(folder / "two")
    assert one == two  # with the checksums of all shards
    assert list(ActivationStore(folder / "two").compare_checksums()) == [shard.file for shard in one.shards]
    assert (folder / "two" / "failures.jsonl").read_text() == (folder / "store" / "failures.jsonl").read_text()


@pytest.mark.slow
def test_sparse_gradients_are_averaged_and_an_error_is_everyones(trained):
    _, first, second, _ = trained
    assert first["sparse"] == second["sparse"] == [True, [[0.5, 1.0], [0.5, 1.0], [0.0, 0.0], [4.0, 6.0]]]
    assert first["together"] == ["rank 1: its disk is gone"]
    assert second["together"] == [1]
