"""Shards are not trusted by name: not when an extraction goes on, not when it ends, not when a store is read."""

import re
from pathlib import Path

import pytest
from command_line import assert_one_error, run
from stores import YAML, make_pictures, write

from usae_train.tokens import extract
from usae_train.tokens.store import ActivationStore, read_record, write_record


@pytest.fixture
def begun(tmp_path: Path) -> tuple[Path, Path]:
    """Pictures, and a store of them that was stopped after two of three shards."""
    pictures, out = make_pictures(tmp_path / "pictures"), tmp_path / "store"
    record = write(pictures, out).record
    (out / record.shards[2].file).unlink()
    write_record(out, record.model_copy(update={"shards": record.shards[:2], "complete": False}))
    return pictures, out


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "number", "said"),
    [
        (cut, 0, "shard-00000.safetensors is missing or broken: .*; the pictures from number 0 on are read again"),
        (cut, 1, "shard-00001.safetensors is missing or broken: .*; the pictures from number 4 on are read again"),
        (flip, 1, "shard-00001.safetensors has the checksum .*; the pictures from number 4 on are read again"),
        (Path.unlink, 1, "shard-00001.safetensors is missing or broken: .*; the pictures from number 4 on are"),
    ],
)
def test_an_extraction_that_goes_on_writes_a_damaged_shard_again(begun, tmp_path: Path, damage, number, said) -> None:
    pictures, out = begun
    damage(out / f"shard-{number:05d}.safetensors")
    warnings: list[str] = []
    store = write(pictures, out, warn=warnings.append)
    assert len(list(store.compare_checksums())) == 3
    assert [shard.sha256 for shard in store.record.shards] == [
        shard.sha256 for shard in write(pictures, tmp_path / "whole").record.shards
    ]
    assert store.failures() == ActivationStore(tmp_path / "whole").failures()
    (warning,) = warnings
    assert re.search(said, warning)


def test_a_whole_one_goes_on_without_a_word(begun) -> None:
    pictures, out = begun
    before = (out / "shard-00001.safetensors").stat().st_mtime_ns
    warnings: list[str] = []
    write(pictures, out, warn=warnings.append)
    assert warnings == []
    assert (out / "shard-00001.safetensors").stat().st_mtime_ns == before


def test_the_command_says_what_it_found(begun, tmp_path: Path) -> None:
    pictures, out = begun
    cut(out / "shard-00001.safetensors")
    (tmp_path / "specs.yaml").write_text(YAML)
    words = ["extract", pictures, "--backbones", tmp_path / "specs.yaml", "--max-broken", "0.2", "-q", "-o", out]
    code, _, err = run(*words)
    assert code == 0
    assert err.startswith(f"warning: {out / 'shard-00001.safetensors'} is missing or broken: ")
    assert err.count("\n") == 1


def test_a_shard_that_is_damaged_meanwhile_is_found_before_the_store_is_called_whole(
    begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, out = begun
    write_shard = extract.write_shard

    def cutting(*given):
        cut(out / "shard-00000.safetensors")
        return write_shard(*given)

    monkeypatch.setattr(extract, "write_shard", cutting)
    with pytest.raises(ValueError, match=r"shard-00000\.safetensors is missing or broken"):
        write(pictures, out)
    assert not read_record(out).complete


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_a_finished_store_with_a_shard_cut_short_is_refused_before_the_first_step(tmp_path: Path, damage) -> None:
    store = write(make_pictures(tmp_path / "pictures"), tmp_path / "store")
    damage(store.folder / "shard-00002.safetensors")
    refused = run("fit", store.folder, "-o", tmp_path / "usae", "--steps", 1)
    assert_one_error(refused, "shard-00002.safetensors is missing or broken: ")
    assert {place.name for place in tmp_path.iterdir()} == {"pictures", "store"}
