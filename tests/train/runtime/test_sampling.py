"""What stands for all is drawn from all: `--limit`, statistics, outliers."""

from pathlib import Path

import pytest
import torch
from command_line import run
from PIL import Image
from stores import SPECS, YAML, make_pictures, write
from toys import toy_tokens

import usae_train as ut
from usae_train.backbones.backbone import build_backbones
from usae_train.images.source_record import SourceRecord
from usae_train.images.sources import open_images
from usae_train.runtime.sampling import drawn_numbers
from usae_train.tokens import extraction_notes
from usae_train.tokens.extract import extract, outliers_of, plan_extraction
from usae_train.tokens.feeding import StoreFeed
from usae_train.tokens.paired import bytes_per_image
from usae_train.tokens.settings import ExtractSettings
from usae_train.tokens.store import ActivationStore, read_record
from usae_train.tokens.store import write_shard as store_write
from usae_train.training.execution import Execution
from usae_train.training.fitting import feed_pictures, fit_store
from usae_train.training.resolving import fit_settings
from usae_train.training.settings import FitSettings

CLASSES = ("ant", "bee", "cat")


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Three classes of six pictures, in order."""
    for number, name in enumerate(CLASSES):
        (tmp_path / "classes" / name).mkdir(parents=True)
        for each in range(6):
            Image.new("RGB", (9, 9), (80 * number, each, 0)).save(tmp_path / "classes" / name / f"{each}.png")
    return tmp_path / "classes"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Eleven pictures, of which number 4 is broken."""
    return make_pictures(tmp_path / "pictures")


def labels_of(source) -> list[str]:
    return [source.label(number) for number in range(len(source))]


@pytest.mark.parametrize(("count", "most"), [(1000, 10), (1000, 999), (7, 3), (5, 1)])
def test_a_draw_has_one_of_each_part(count: int, most: int) -> None:
    drawn = drawn_numbers(count, most)
    assert drawn.tolist() == drawn_numbers(count, most).tolist() == sorted(set(drawn.tolist()))
    assert 0 <= drawn[0] <= count // most
    assert count - count // most - 1 <= drawn[-1] < count
    assert drawn.diff().max() <= 2 * (count // most) + 1 if most > 1 else True


def test_a_draw_is_random_and_of_no_more_than_there_are() -> None:
    within = drawn_numbers(100_000, 1000) % 100
    assert abs(within.float().mean() - 49.5) < 3
    assert within.unique().numel() == 100
    taking_turns = drawn_numbers(1500, 1000) % 3
    assert (taking_turns.bincount() - 333).abs().max() < 60  # were every second part larger, it would be 167
    assert drawn_numbers(4, None).tolist() == drawn_numbers(4, 4).tolist() == drawn_numbers(4, 9).tolist()


def test_a_limit_draws_from_all_classes_the_same_pictures_each_time(classes: Path) -> None:
    source = open_images(classes, 6)
    labels = labels_of(source)
    assert {label.split("/")[0] for label in labels} == set(CLASSES)
    assert labels == sorted(labels) == labels_of(open_images(classes, 6))
    assert source.drawn_from == 18
    assert torch.equal(
        source.read(5, 8), open_images(classes).read(labels_of(open_images(classes)).index(labels[5]), 8)
    )
    assert labels_of(open_images(classes, 18)) == labels_of(open_images(classes))


def test_a_limit_draws_from_all_shards_and_rows(classes: Path, tmp_path: Path) -> None:
    import tarfile

    files = sorted(classes.rglob("*.png"))
    for number, some in enumerate((files[:12], files[12:])):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as opened:
            for file in some:
                opened.add(file, f"{file.parent.name}{file.name}")
    labels = labels_of(open_images(tmp_path / "{0..1}.tar", 6))
    assert [label.split("/")[0] for label in labels] == sorted(["0.tar"] * 4 + ["1.tar"] * 2)
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"photo": [str(file) for file in files]}).cast_column("photo", datasets.Image())
    rows.save_to_disk(tmp_path / "saved")
    source = open_images(f"hf:{tmp_path / 'saved'}", 6)
    numbers = drawn_numbers(18, 6).tolist()
    assert labels_of(source) == [f"row {number}" for number in numbers]
    assert torch.equal(source.read(5, 8), open_images(classes).read(numbers[5], 8))


def test_pictures_are_found_again_by_either_rule_and_not_when_they_changed(classes: Path) -> None:
    name, whole = str(classes), open_images(classes)
    first = whole.chosen(range(6)).fingerprint()
    for count, fingerprint, expected in (
        (6, open_images(classes, 6).fingerprint(), labels_of(open_images(classes, 6))),
        (6, first, labels_of(whole)[:6]),
        (18, whole.fingerprint(), labels_of(whole)),
    ):
        assert labels_of(SourceRecord(name, count, fingerprint).reopened()) == expected
    assert SourceRecord(name, 18, first).reopened() is None
    assert SourceRecord(name, 6, "another").reopened() is None
    assert SourceRecord("demo", 7, open_images("demo", 7).fingerprint()).reopened() is not None


def test_a_usae_of_before_finds_its_first_pictures(classes: Path) -> None:
    usae = ut.USAE({"left": 16}, 4, 2, specs={"left": SPECS["left"]}, grid=(2, 2))
    usae.measured_on = SourceRecord(str(classes), 6, open_images(classes).chosen(range(6)).fingerprint())
    usae.statistics = ut.fit({"left": torch.randn(6, 16)}, n_concepts=4, k=2, steps=1, batch=6).statistics
    from usae_train.model.natural import natural_pictures

    natural, _ = natural_pictures(usae)
    assert natural is not None
    assert labels_of(natural.source) == [f"ant/{number}.png" for number in range(6)]


def test_a_store_says_what_it_was_drawn_from(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "specs.yaml").write_text(YAML)
    words = ["extract", pictures, "--backbones", tmp_path / "specs.yaml", "--max-broken", "0.3"]
    code, said, _ = run(*words, "-o", tmp_path / "store", "--limit", 5)
    assert code == 0
    assert "5 pictures drawn from 11 will take" in said
    record = read_record(tmp_path / "store")
    assert (record.n_images, record.drawn_from) == (5, 11)
    assert not ActivationStore(tmp_path / "store").changed_pictures()
    (pictures / open_images(pictures, 5).label(0)).unlink()
    assert ActivationStore(tmp_path / "store").changed_pictures()


@pytest.mark.parametrize("told", [True, False])
def test_a_store_that_was_begun_with_the_first_pictures_goes_on_with_them(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    out, source = tmp_path / "store", open_images(pictures).chosen(range(7))
    record = plan_extraction(source, SPECS)[0].model_copy(update={"drawn_from": None})
    write_record = extraction_notes.write_record

    def stop(folder: Path, noted) -> None:
        write_record(folder, noted)
        if noted.shards:
            raise KeyboardInterrupt

    monkeypatch.setattr(extraction_notes, "write_record", stop)
    with pytest.raises(KeyboardInterrupt):
        extract(source, record, out, ExtractSettings(image_batch=2, max_broken=0.2), images_per_shard=4)
    monkeypatch.setattr(extraction_notes, "write_record", write_record)
    (tmp_path / "specs.yaml").write_text(YAML)
    words = ["extract", pictures, "--backbones", tmp_path / "specs.yaml", "--max-broken", "0.2", "-o", out]
    code, _, err = run(*words, "--limit", 7 if told else 6)
    if not told:
        assert (code, err.count("\n")) == (1, 1)
        assert "was begun with another fingerprint, n_images; give the same settings" in err
        return
    assert code == 0, err
    store = ActivationStore(out)
    numbers = [number for shard in range(len(store.record.shards)) for number in store.read([shard]).numbers.tolist()]
    assert numbers == [0, 1, 2, 3, 5, 6]


@pytest.fixture
def five(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Statistics are measured on five of eleven; which they are."""
    monkeypatch.setattr("usae_train.runtime.sampling.MEASURED_IMAGES", 5)
    return drawn_numbers(11, 5).tolist()


def test_statistics_of_pictures_are_of_the_same_ones_whatever_the_memory(pictures: Path, five: list[int]) -> None:
    backbones, source = build_backbones(SPECS), open_images(pictures)
    found = []
    for images in (20, 2.5):
        memory = images * bytes_per_image(backbones, (2, 2)) / 1e9
        _, sample = feed_pictures(backbones, source, (2, 2), FitSettings(max_broken=1), Execution(memory=memory))
        lots = list(sample())
        assert torch.cat([lot.numbers for lot in lots]).tolist() == [number for number in five if number != 4]
        found.append(torch.cat([lot.tokens["left"] for lot in lots]))
    assert torch.equal(*found)


def test_statistics_of_a_store_are_of_the_same_ones_whatever_the_memory(pictures: Path, tmp_path: Path) -> None:
    store = write(pictures, tmp_path / "store")
    for most in (4, 100):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("usae_train.runtime.sampling.MEASURED_IMAGES", most)
            patch.setattr("usae_train.tokens.feeding.SAMPLE_BATCH_SIZE", 3)
            everything, places = store.read([0, 1, 2]), drawn_numbers(10, most)
            for memory in (0, 1e9):
                lots = list(StoreFeed(store, memory).sample())
                assert torch.equal(torch.cat([lot.numbers for lot in lots]), everything.numbers[places])
                for name, own in everything.tokens.items():
                    assert torch.equal(torch.cat([lot.tokens[name] for lot in lots]), own[places])
            settings = fit_settings("default", n_concepts=6, k=2, steps=1, batch=8)
            measured = [fit_store(store, settings, Execution(memory=memory)).statistics for memory in (0, 1)]
            assert [own.counts[0] for own in measured] == [len(places)] * 2


def test_statistics_of_bare_tokens_are_of_a_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usae_train.tokens.token_tables.MEASURED_TOKENS", 20)
    usae = ut.fit(toy_tokens(64), n_concepts=12, k=3, steps=2, batch=32)
    found = usae.statistics.top_images.unique()
    assert usae.statistics.counts[0] == 20
    assert set(found.tolist()) <= {-1, *drawn_numbers(64, 20).tolist()}
    assert found.max() >= 40


def test_outliers_of_a_store_are_looked_for_in_all_of_it(pictures: Path, tmp_path: Path, monkeypatch) -> None:
    def with_outliers(out, number, filled):
        filled.tokens["left"][:, 0] *= 100 if number == 2 else 1  # a token of each of the last images
        return store_write(out, number, filled.tokens, torch.tensor(filled.numbers), filled.tried), filled.failures

    monkeypatch.setattr("usae_train.tokens.extract._write", with_outliers)
    monkeypatch.setattr("usae_train.tokens.extract.STANDARDIZATION_IMAGES", 5)
    store = write(pictures, tmp_path / "store")
    drawn = drawn_numbers(10, 5)
    found = outliers_of(store)["left"]
    assert (found.count, found.tokens) == (int((drawn >= 7).sum()), 20)
    assert found.count > 0
