import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from usae_train.backbones.backbone import Backbone, BackboneSpec
from usae_train.images.source_record import SourceRecord
from usae_train.model.checkpoint import load, save
from usae_train.model.usae import USAE
from usae_train.training.fitting import fit
from usae_train.training.loop import new_usae
from usae_train.training.settings import PUBLISHED, FitSettings


@pytest.fixture
def usae() -> USAE:
    generator = torch.Generator().manual_seed(0)
    tokens = {"a": torch.randn(40, 6, generator=generator) * 3 + 1, "b": torch.randn(40, 4, generator=generator)}
    fitted = fit(tokens, recipe="published", n_concepts=10, k=3, steps=4, batch=16)
    fitted.measured_on, fitted.factors = SourceRecord("toy", fingerprint="f00d"), ["colour: red"]
    return fitted


@pytest.fixture
def folder(usae: USAE, tmp_path: Path) -> Path:
    return save(usae, tmp_path / "universe")


def change_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_saved_usae_comes_back_equal(usae: USAE, folder: Path) -> None:
    loaded = load(folder)
    for name, value in usae.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    for name in ("widths", "n_concepts", "k", "batch_norm", "recipe", "grid", "measured_on", "factors"):
        assert getattr(loaded, name) == getattr(usae, name), name
    assert usae.statistics is not None
    assert loaded.statistics is not None
    torch.testing.assert_close(loaded.statistics.quantiles, usae.statistics.quantiles, atol=0, rtol=0, equal_nan=True)
    tokens = torch.randn(5, 6)
    assert torch.equal(loaded.pre_codes("a", tokens), usae.pre_codes("a", tokens))
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize("unit_norm", [False, True])
def test_free_lengths_come_back_and_a_folder_of_before_has_none(unit_norm: bool, tmp_path: Path) -> None:
    made = USAE({"a": 4}, 6, 2, unit_norm=unit_norm)
    with torch.no_grad():
        made.decoder("a").weight.mul_(3)
    save(made, tmp_path / "usae")
    codes = made.eval().encode("a", torch.ones(2, 4))
    loaded = load(tmp_path / "usae")
    assert loaded.unit_norm is unit_norm
    assert torch.equal(loaded.decode("a", codes), made.decode("a", codes))
    config = json.loads((tmp_path / "usae" / "config.json").read_text())
    config.pop("unit_norm", None)
    (tmp_path / "usae" / "config.json").write_text(json.dumps(config))
    assert load(tmp_path / "usae").unit_norm


def test_a_loaded_usae_knows_its_source_and_hash(folder: Path) -> None:
    first = load(folder)
    assert first.source == str(folder)
    assert first.sha256 is not None
    assert len(first.sha256) == 64
    weights = load_file(folder / "model.safetensors")
    weights["scales.a.mean"] += 1
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(
        ValueError, match=r"statistics.safetensors belongs to another USAE \(weights .*; remove it, and measu"
    ):
        load(folder)
    (folder / "statistics.safetensors").unlink()
    assert load(folder).sha256 != first.sha256


def test_the_folder_holds_text_and_safetensors_alone(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "statistics.safetensors",
    ]
    config = json.loads((folder / "config.json").read_text())
    assert config["schema"] == 1
    assert torch.__version__.startswith(config["versions"]["torch"])
    assert "10 concepts" in (folder / "README.md").read_text()


def test_half_precision_halves_the_weights_and_spares_the_standardization(usae: USAE, tmp_path: Path) -> None:
    loaded = load(save(usae, tmp_path / "half", half=True))
    assert load_file(tmp_path / "half" / "model.safetensors")["dictionaries.a.weight"].dtype == torch.float16
    assert loaded.dictionary("a").dtype == torch.float32
    assert torch.equal(loaded.scale("a").mean, usae.scale("a").mean)
    torch.testing.assert_close(loaded.dictionary("a"), usae.dictionary("a"), atol=2e-3, rtol=2e-3)


def test_backbones_weights_are_brought_along(tiny_specs: dict[str, BackboneSpec], tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.safetensors"
    save_file(Backbone("vit", tiny_specs["vit"]).model.state_dict(), file)
    specs = {"vit": tiny_specs["vit"].model_copy(update={"weights": str(file)}), "conv": tiny_specs["conv"]}
    settings = FitSettings(n_concepts=8, k=2)
    saved = save(new_usae({"vit": 32, "conv": 24}, settings, specs=specs, grid=(2, 2)), tmp_path / "universe")
    file.unlink()
    config = json.loads((saved / "config.json").read_text())
    assert config["backbones"]["vit"]["weights"] == "backbones/vit.safetensors"
    loaded = load(saved.rename(tmp_path / "moved"))
    assert loaded.grid == (2, 2)
    canvas = torch.rand(1, 3, 64, 64)
    assert torch.equal(loaded.tokens("vit", canvas), Backbone("vit", tiny_specs["vit"])(canvas, (2, 2)))
    assert torch.equal(loaded.tokens("conv", canvas), Backbone("conv", tiny_specs["conv"])(canvas, (2, 2)))


def test_unknown_names_of_a_usae_with_backbones_are_refused(tiny_specs: dict[str, BackboneSpec]) -> None:
    usae = new_usae({"vit": 32, "conv": 24}, FitSettings(n_concepts=8, k=2), specs=tiny_specs, grid=(2, 2))
    with pytest.raises(ValueError, match=r"unknown backbone 'vitt'.*did you mean 'vit'\?"):
        usae.tokens("vitt", torch.rand(1, 3, 64, 64))


def test_saving_never_writes_over_something(usae: USAE, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="taken exists already; choose another --out, or remove it first"):
        save(usae, taken)
    with pytest.raises(ValueError, match="exists already"):
        save(usae, taken / "mine.txt")
    assert [p.name for p in taken.iterdir()] == ["mine.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_an_empty_folder_is_taken(usae: USAE, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert load(save(usae, tmp_path / "empty")).k == 3
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize("exists", [False, True])
def test_a_full_disk_leaves_nothing_behind(
    usae: USAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("disk full")

    if exists:
        (tmp_path / "universe").mkdir()
    monkeypatch.setattr("usae_train.model.usae_folder.save_file", full)
    with pytest.raises(
        ValueError, match=r"universe cannot be written: disk full; free some space, or choose another p"
    ):
        save(usae, tmp_path / "universe")
    assert [p.name for p in tmp_path.rglob("*")] == (["universe"] if exists else [])


def test_an_interrupted_save_leaves_nothing_behind(usae: USAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("usae_train.files.tensor_files.tensors.save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(usae, tmp_path / "universe")
    assert list(tmp_path.iterdir()) == []


def one_line(refusal: pytest.ExceptionInfo[ValueError]) -> bool:
    return "\n" not in str(refusal.value)


def test_a_folder_without_config_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"universe is not a USAE folder: it has no config\.json"):
        load(folder)


@pytest.mark.parametrize("schema", [2, "1", None])
def test_an_unknown_schema_is_refused(folder: Path, schema: object) -> None:
    change_config(folder, schema=schema)
    with pytest.raises(ValueError, match=rf"config\.json has schema {schema!r}; this version reads 1"):
        load(folder)


@pytest.mark.parametrize("text", ["{", "[1]", "", "\x00"])
def test_a_broken_config_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json is not a valid JSON object") as refusal:
        load(folder)
    assert one_line(refusal)


def test_an_unknown_key_is_refused_by_name(folder: Path) -> None:
    change_config(folder, n_concept=3)
    with pytest.raises(ValueError, match=r"config\.json: n_concept: unknown name") as refusal:
        load(folder)
    assert one_line(refusal)


def test_a_wrong_type_is_refused_by_name(folder: Path) -> None:
    change_config(folder, grid=[8])
    with pytest.raises(ValueError, match=r"config\.json: grid\.1: it is missing") as refusal:
        load(folder)
    assert one_line(refusal)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights_are_refused(folder: Path, kept: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model\.safetensors is broken or incomplete \(.+\); save or copy") as refusal:
        load(folder)
    assert one_line(refusal)


def test_missing_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors is broken or incomplete") as refusal:
        load(folder)
    assert one_line(refusal)


def test_weights_that_do_not_fit_the_config_are_refused(folder: Path) -> None:
    change_config(folder, n_concepts=11)
    with pytest.raises(ValueError, match=r"model\.safetensors is broken or incomplete") as refusal:
        load(folder)
    assert one_line(refusal)


def test_truncated_statistics_are_refused(folder: Path) -> None:
    file = folder / "statistics.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"statistics\.safetensors is not a readable statistics file"):
        load(folder)


def test_statistics_of_another_size_are_refused_whatever_they_say_of_themselves(folder: Path) -> None:
    file = folder / "statistics.safetensors"
    save_file({name: tensor[..., :2].contiguous() for name, tensor in load_file(file).items()}, file)
    with pytest.raises(ValueError, match=r"has \(2, 2\) backbones and concepts, the USAE \(2, 10\); remo"):
        load(folder)


def test_an_unknown_id_names_the_nearest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    with pytest.raises(
        ValueError, match=r"unknown USAE 'univers'; expected `demo`, `photos`, a folder .* nearest: universe"
    ):
        load("univers")
    with pytest.raises(ValueError, match=r"unknown USAE 'dmeo'.*nearest: demo"):
        load("dmeo")


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    def unreachable(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("cannot find\nthe snapshot")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(
        ValueError, match=r"no folder 'someone/universe', and the hub does not have it either"
    ) as refusal:
        load("someone/universe")
    assert one_line(refusal)


def test_a_hub_repository_is_loaded_without_asking_for_pickles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def download(repository: str, allow_patterns: list[str]) -> str:
        assert repository == "someone/universe"
        asked.append(allow_patterns)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert load("someone/universe").source == "someone/universe"
    assert asked == [["config.json", "*.safetensors", "README.md", "labels.json"]]


def test_a_published_recipe_is_named_and_keeps_its_batch_norm(usae: USAE, folder: Path) -> None:
    loaded = load(folder)
    assert loaded.recipe == PUBLISHED.name
    norm = loaded.encoder("a").norm
    assert norm is not None
    assert torch.equal(norm.running_var, usae.encoder("a").norm.running_var)


def test_a_missing_weight_file_is_not_blamed_on_the_target(tiny_specs: dict[str, BackboneSpec], tmp_path: Path) -> None:
    specs = {"vit": tiny_specs["vit"].model_copy(update={"weights": str(tmp_path / "gone.safetensors")})}
    usae = new_usae({"vit": 32}, FitSettings(n_concepts=8, k=2), specs=specs, grid=(2, 2))
    with pytest.raises(ValueError, match=r"gone\.safetensors"):
        save(usae, tmp_path / "universe")
