"""Extraction to an activation store, stopped and resumed, and training from it."""

import json
import signal
import threading
import time

import pytest
import torch
from command_line import SMALL, assert_one_error, run
from PIL import Image
from safetensors.torch import save_file
from stores import SPECS, YAML, begun, make_pictures, write
from torch.utils.data import DataLoader
from typer.testing import CliRunner

import usae_train as ut
from usae_train.cli import app
from usae_train.images.sources import open_images
from usae_train.tokens.extract import extract, plan_extraction
from usae_train.tokens.extraction_notes import begin_or_resume
from usae_train.tokens.feeding import Batches, MemoryFeed, StoreFeed
from usae_train.tokens.settings import ExtractSettings
from usae_train.tokens.store import ActivationStore, disk_bytes_per_image, read_record, write_record
from usae_train.tokens.store import write_shard as store_write


@pytest.fixture
def pictures(tmp_path):
    """Eleven pictures, of which number 4 is broken."""
    return make_pictures(tmp_path / "pictures")


def test_a_store_is_what_the_design_says(pictures, tmp_path):
    store = write(pictures, tmp_path / "store")
    assert sorted(f.name for f in (tmp_path / "store").iterdir()) == [
        "failures.jsonl",
        "shard-00000.safetensors",
        "shard-00001.safetensors",
        "shard-00002.safetensors",
        "store.json",
    ]
    record = read_record(tmp_path / "store")
    assert (record.grid, record.dtype, record.complete) == ((2, 2), "bfloat16", True)
    assert [(s.images, s.first, s.last) for s in record.shards] == [(4, 0, 3), (3, 4, 7), (3, 8, 10)]
    assert len(store) == 10
    assert store.read([0, 1, 2]).numbers.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
    failures = [json.loads(line) for line in (tmp_path / "store" / "failures.jsonl").read_text().splitlines()]
    assert [f["image"] for f in failures] == [4]
    assert failures[0]["why"].startswith("04.png cannot be read")
    assert list(store.compare_checksums()) == [s.file for s in record.shards]


def test_it_holds_what_the_backbones_see(pictures, tmp_path):
    store = write(pictures, tmp_path / "store")
    source = open_images(pictures)
    paired = store.read([1])
    backbones = ut.USAE({"left": 16, "right": 16}, 4, 2, specs=SPECS, grid=(2, 2)).backbones
    canvas = torch.stack([source.read(n, 24) for n in paired.numbers.tolist()])
    for name, tokens in paired.tokens.items():
        seen = backbones[name](canvas, (2, 2))
        assert torch.allclose(seen, tokens.float(), atol=0.02)


def test_the_size_is_said_before(pictures, tmp_path):
    source = open_images(pictures)
    record, gigabytes, _ = plan_extraction(source, SPECS)
    assert disk_bytes_per_image(record) == 4 * 32 * 2
    assert gigabytes == pytest.approx(11 * 4 * 32 * 2 / 1e9)
    (tmp_path / "specs.yaml").write_text(YAML)
    words = ["extract", str(pictures), "--backbones", str(tmp_path / "specs.yaml"), "-o", str(tmp_path / "store")]
    done = CliRunner().invoke(app, [*words, "--max-broken", "0.2"])
    assert done.exit_code == 0, done.stderr
    assert "11 pictures will take 2.82e-06 GB" in done.stdout
    assert "10 pictures in 1 shard, 1 could not be read" in done.stdout
    verified = CliRunner().invoke(app, ["extract", str(pictures), "-o", str(tmp_path / "store"), "--verify-checksums"])
    assert "all checksums right" in verified.stdout
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 1
    assert "is a finished store, which is never changed" in again.stderr


@pytest.mark.parametrize("stop_after", [2, 4, 6, 9])
def test_a_stopped_extraction_goes_on_with_no_image_lost_or_doubled(pictures, tmp_path, stop_after):
    class Killed(Exception):
        pass

    def progress(done, total):
        if total == 11 and done >= stop_after:
            raise Killed

    with pytest.raises(Killed):
        write(pictures, tmp_path / "store", progress=progress)
    with pytest.raises(ValueError, match="is unfinished"):
        ActivationStore(tmp_path / "store")
    resumed = write(pictures, tmp_path / "store")
    whole = write(pictures, tmp_path / "whole")
    assert [s.sha256 for s in resumed.record.shards] == [s.sha256 for s in whole.record.shards]
    assert resumed.failures() == whole.failures()


def test_workers_read_the_same(pictures, tmp_path):
    one, two = write(pictures, tmp_path / "one"), write(pictures, tmp_path / "two", readers=2)
    assert [s.sha256 for s in one.record.shards] == [s.sha256 for s in two.record.shards]


def test_a_shard_is_written_while_the_next_one_is_seen(pictures, tmp_path, monkeypatch):
    further = threading.Event()

    def write_shard(folder, number, *given):
        assert number > 0 or further.wait(20), "shard 0 was waited for"
        return store_write(folder, number, *given)

    monkeypatch.setattr("usae_train.tokens.extract.write_shard", write_shard)
    store = write(pictures, tmp_path / "store", progress=lambda done, total: further.set() if done > 4 else None)
    assert [len(store.read([number]).numbers) for number in range(3)] == [4, 3, 3]


def test_a_written_shard_is_noted_before_the_next_one_is_done(pictures, tmp_path):
    def progress(done, total):  # noqa: ARG001
        file, noted = tmp_path / "store" / "shard-00000.safetensors", time.monotonic() + 20
        while done == 6 and not file.is_file() and time.monotonic() < noted:
            time.sleep(0.01)
        time.sleep(0.3 if done == 6 else 0)  # for its checksum
        if done == 8:
            assert len(read_record(tmp_path / "store").shards) == 1

    write(pictures, tmp_path / "store", progress=progress)


def test_backbones_and_workers_start_once(pictures, tmp_path, monkeypatch):
    source = open_images(pictures)
    record, _, built = plan_extraction(source, SPECS)
    loaders = []
    monkeypatch.setattr("usae_train.tokens.extract.build_backbones", None)
    monkeypatch.setattr(
        "usae_train.images.sources.DataLoader", lambda *a, **kw: loaders.append(kw) or DataLoader(*a, **kw)
    )
    settings = ExtractSettings(image_batch=2, max_broken=0.2, readers=1)
    extract(source, record, tmp_path / "store", settings, images_per_shard=4, backbones=built)
    assert [each["num_workers"] for each in loaders] == [1]


def test_too_many_broken_images_stop_it(pictures, tmp_path):
    source = open_images(pictures)
    with pytest.raises(ValueError, match=r"1 of 11 pictures cannot be read, more than 1\.0% of all; the first: 04"):
        extract(source, plan_extraction(source, SPECS)[0], tmp_path / "store")


def test_tokens_that_are_not_finite_are_never_stored(pictures, tmp_path):
    source = open_images(pictures)
    record, _, built = plan_extraction(source, SPECS)
    with torch.no_grad():
        built["right"].model.norm.weight.mul_(torch.nan)
    with pytest.raises(ValueError, match="right: some tokens of the pictures 0 to 10 are NaN or infinite in bfloat16"):
        extract(source, record, tmp_path / "store", ExtractSettings(max_broken=0.2), backbones=built)
    assert not list((tmp_path / "store").glob("*.safetensors"))


def test_a_store_whose_tokens_are_not_finite_is_no_question_of_the_learning_rate(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("usae_train.tokens.extract._write", lambda *given: store_write_of_nan(*given))
    store = write(pictures, tmp_path / "store")
    with pytest.raises(ValueError, match="left: some tokens are NaN or infinite; check the backbone's weights"):
        ut.fit(store, n_concepts=8, k=2, steps=3, batch=16)


def store_write_of_nan(out, number, filled):
    spoilt = {**filled.tokens, "left": filled.tokens["left"].clone()}
    spoilt["left"][0, 0, 0] = torch.nan
    return store_write(out, number, spoilt, torch.tensor(filled.numbers), filled.tried), filled.failures


def test_what_does_not_go_together_is_refused(pictures, tmp_path):
    source = open_images(pictures)
    with pytest.raises(ValueError, match="more than"):
        extract(source, plan_extraction(source, SPECS)[0], tmp_path / "store")
    other = {"left": SPECS["left"], "middle": SPECS["right"]}
    with pytest.raises(ValueError, match="was begun with another backbones, widths"):
        extract(source, plan_extraction(source, other)[0], tmp_path / "store")
    Image.new("RGB", (8, 8)).save(pictures / "new.png")
    source = open_images(pictures)
    with pytest.raises(ValueError, match="was begun with another fingerprint, n_images"):
        extract(source, plan_extraction(source, SPECS)[0], tmp_path / "store")
    with pytest.raises(ValueError, match="is not an activation store"):
        ActivationStore(pictures)
    with pytest.raises(ValueError, match="exists already and is not a store"):
        extract(source, plan_extraction(source, SPECS)[0], pictures)


def test_a_store_that_an_earlier_version_began_goes_on_and_not_with_other_pictures(pictures, tmp_path):
    """Its fingerprint is of names and sizes alone."""
    own, out = plan_extraction(open_images(pictures), SPECS)[0], tmp_path / "store"
    before = own.model_copy(update={"fingerprint": own.fingerprint.partition("+")[0]})
    write_record(out, before)
    assert begin_or_resume(own, out) == before
    write_record(out, own)
    other = own.model_copy(update={"fingerprint": own.fingerprint[:-1] + "x"})
    with pytest.raises(ValueError, match="was begun with another fingerprint; give the same settings"):
        begin_or_resume(other, out)


def test_a_backbone_with_a_name_that_none_can_have_is_refused_before_anything_is_extracted(pictures):
    """`images` would be overwritten by the shards' tensor of numbers."""
    with pytest.raises(ValueError, match="a backbone cannot be called 'images'; use letters, digits, _ and -"):
        plan_extraction(open_images(pictures), {"images": SPECS["left"]})


def test_a_damaged_shard_is_found(pictures, tmp_path):
    store = write(pictures, tmp_path / "store")
    file = tmp_path / "store" / "shard-00001.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"shard-00001\.safetensors has the checksum"):
        list(store.compare_checksums())
    assert list(store.compare_checksums(store.record.shards[::2])) == [
        "shard-00000.safetensors",
        "shard-00002.safetensors",
    ]
    for way in ([], ["--independent"]):
        words = ["fit", tmp_path / "store", "-o", tmp_path / "usae", *SMALL, *way]
        assert_one_error(run(*words, "--verify-checksums"), "shard-00001.safetensors has the checksum")
        assert {place.name for place in tmp_path.iterdir()} == {"pictures", "store"}
        refused = run("fit", "demo", *words[2:], "--verify-checksums")
        assert_one_error(refused, "--verify-checksums is for a store, and demo is not one")
    file.write_bytes(content[:100])
    with pytest.raises(ValueError, match=r"shard-00001\.safetensors is missing or broken"):
        store.read([1])


def test_a_feed_from_a_store_shows_every_token_once_an_epoch(pictures, tmp_path):
    store = write(pictures, tmp_path / "store")
    feed = StoreFeed(store, memory=store.bytes / len(store) * 4)  # one shard at a time
    assert len(feed) == 40
    assert len(feed.windows(torch.Generator())) == 3
    everything = MemoryFeed(store.read([0, 1, 2]).flat())
    rows = torch.tensor([0, 17, 39, 17])
    for name, own in feed.pick(rows).items():
        assert torch.equal(own, everything.pick(rows)[name].float())
    batches = Batches(feed, 8, torch.Generator().manual_seed(0))
    epoch = torch.cat([batches.next()["left"] for _ in range(5)])
    assert torch.equal(epoch.sort(0).values, everything.tokens["left"].sort(0).values)


def test_a_window_mixes_pieces_of_several_shards_within_the_memory(pictures, tmp_path, monkeypatch):
    store = write(pictures, tmp_path / "store")
    image = store.bytes / len(store)
    monkeypatch.setattr("usae_train.tokens.feeding.SLICE_BYTES", 2 * image)
    feed = StoreFeed(store, memory=4.5 * image)
    assert [(each.shard, list(each.images)) for each in feed.slices] == [
        (0, [0, 1]),
        (0, [2, 3]),
        (1, [0, 1]),
        (1, [2]),
        (2, [0, 1]),
        (2, [2]),
    ]
    windows = feed.windows(torch.Generator().manual_seed(0))
    assert [len(window) for window in windows] == [2, 2, 2]
    assert any(len({feed.slices[number].shard for number in window}) == 2 for window in windows)
    assert sum(feed.load(window)["left"].nbytes * 2 for window in windows) == store.bytes
    assert max(feed.load(window)["left"].nbytes * 2 for window in windows) <= 4.5 * image
    everything = store.read([0, 1, 2])
    rows = torch.cat([feed.load(window)["left"] for window in windows])
    assert torch.equal(rows.sort(0).values, everything.flat()["left"].sort(0).values)


def test_fit_takes_a_store(pictures, tmp_path):
    write(pictures, tmp_path / "store")
    usae = ut.fit(tmp_path / "store", n_concepts=6, k=2, steps=3, batch=8)
    assert usae.names == ["left", "right"]
    assert usae.statistics.counts.tolist() == [10, 40]
    assert usae.grid == (2, 2)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A training that nobody stops: (the words to fit it, its weights)."""
    folder = tmp_path_factory.mktemp("unbroken")
    write(make_pictures(folder / "pictures"), folder / "store")
    words = ["fit", folder / "store", "--n-concepts", 12, "-k", 3, "--steps", 1000, "--batch", 8, "-q"]
    assert run(*words, "-o", folder / "usae")[0] == 0
    return [str(word) for word in words], ut.load(folder / "usae").state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_training_goes_on_bit_for_bit(unbroken, tmp_path, end):
    (words, whole), out = unbroken, tmp_path / "usae"
    words = [*words, "-o", str(out)]
    process, room = begun([*words, "--checkpoint-minutes", "0"], out, 2)
    process.send_signal(end)
    assert process.wait() == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[end]
    assert list(room.glob("step-*.pt"))
    assert not out.exists()
    assert_one_error(run(*words), "give --resume to continue it, or remove it")
    assert_one_error(run(*words, "--seed", "1", "--resume"), "was begun with another seed")
    assert run(*words, "--resume") == (0, "", "")
    assert not room.exists()
    resumed = ut.load(out).state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_shard_read_in_pieces_is_the_whole(pictures, tmp_path, monkeypatch):
    store = write(pictures, tmp_path / "store")
    whole, rows = store.read([2, 0]), torch.tensor([39, 0, 17, 21, 17])
    picked = StoreFeed(store, memory=1e9).pick(rows)
    monkeypatch.setattr("usae_train.tokens.store.READ_BYTES", 1.0)
    monkeypatch.setattr("usae_train.tokens.feeding.IMAGE_CHUNK_SIZE", 1)
    pieces = store.read([2, 0])
    assert pieces.numbers.tolist() == whole.numbers.tolist() == [8, 9, 10, 0, 1, 2, 3]
    for name in ("left", "right"):
        assert torch.equal(pieces.tokens[name], whole.tokens[name])
        assert torch.equal(StoreFeed(store, memory=1e9).pick(rows)[name], picked[name])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "grid",
            [3, 3],
            r"shard-00000.* holds left in the shape \[4, 4, 16\]; by store.json .* \[4, 9, 16\]: .* another",
        ),
        (
            "widths",
            {"left": 16, "right": 24},
            r"right in the shape \[4, 4, 16\]; by store.json it should be \[4, 4, 24\]",
        ),
        ("dtype", "int8", r"store\.json is not a valid record of a store: dtype: .*'bfloat16'"),
        ("shards", [], "store has no pictures in its shards"),
    ],
)
def test_a_record_that_is_not_of_its_shards_is_one_line(pictures, tmp_path, key, value, message):
    write(pictures, tmp_path / "store")
    record = tmp_path / "store" / "store.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), key: value}))
    with pytest.raises(ValueError, match=message):
        ut.fit(tmp_path / "store", n_concepts=8, k=2, steps=3, batch=16)


def test_a_store_of_local_weights_is_fitted_from_anywhere_and_not_without_them(pictures, tmp_path, monkeypatch):
    donor = plan_extraction(open_images(pictures), SPECS).backbones["left"]
    save_file(donor.model.state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "specs.yaml").write_text(YAML.replace("weights: random", "weights: w.safetensors", 1))
    monkeypatch.chdir(tmp_path)
    words = ["extract", "pictures", "--backbones", "specs.yaml", "-o", "store", "--max-broken", "0.2"]
    assert run(*words)[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("fit", "../store", "-o", "usae", *SMALL)[0] == 0
    assert (tmp_path / "elsewhere" / "usae" / "backbones" / "left.safetensors").is_file()
    (tmp_path / "w.safetensors").unlink()
    for way in ([], ["--independent"]):
        refused = run("fit", "../store", "-o", "other", *SMALL, *way)
        assert_one_error(refused, f"left: its weight file {tmp_path / 'w.safetensors'} is gone; put it back")
        assert [place.name for place in (tmp_path / "elsewhere").iterdir()] == ["usae"]  # before a step was taken


@pytest.mark.parametrize("damage", ["no JSON\n", "{}\n", "[3]\n", '{"image": "x", "why": ""}\n'])
def test_damaged_failures_are_named(pictures, tmp_path, damage):
    write(pictures, tmp_path / "store")
    (tmp_path / "store" / "failures.jsonl").write_text(damage)
    with pytest.raises(ValueError, match=r"store/failures\.jsonl is damaged: .*; put it back as it was, or extract"):
        ActivationStore(tmp_path / "store").failures()
