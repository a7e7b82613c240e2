from pathlib import Path

import pytest
from pydantic import BaseModel, field_validator

from usae_train.backbones.backbone import BackboneSpec
from usae_train.backbones.spec import PAPER
from usae_train.files.yaml_config import check_mapping, read_mapping
from usae_train.model.spec_files import read_specs
from usae_train.training.settings import FitSettings


def written(folder: Path, text: str) -> str:
    file = folder / "specs.yaml"
    file.write_text(text)
    return str(file)


def test_a_yaml_of_specs_is_read(tmp_path: Path) -> None:
    text = """
mine:
  model: vit_tiny_patch16_224
  weights: random
  input_size: 64
  mean: [0.5, 0.5, 0.25]
  options: {depth: 1}
other:
  model: resnet10t
  weights: weights/r.safetensors
"""
    specs = read_specs(written(tmp_path, text))
    assert list(specs) == ["mine", "other"]
    assert specs["mine"] == BackboneSpec(
        model="vit_tiny_patch16_224", weights="random", input_size=64, mean=(0.5, 0.5, 0.25), options={"depth": 1}
    )
    assert specs["other"].weights == str(tmp_path / "weights" / "r.safetensors")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a:\n  model: resnet10t\n  wieghts: random\n",
            r"specs\.yaml:3: unknown key 'a\.wieghts'; did you mean 'weights'\?",
        ),
        ("a:\n  model: resnet10t\n  zzz: 1\n", r"specs\.yaml:3: unknown key 'a\.zzz'; known keys are model, weights"),
        (
            "a:\n  model: resnet10t\n\n  layer: last\n",
            r"specs\.yaml:4: a\.layer: expected a whole number \(found 'last'\)",
        ),
        ("a:\n  model: resnet10t\n  input_size: 0\n", r"specs\.yaml:3: a\.input_size: expected at least 1"),
        (
            "a:\n  model: m\n  mean:\n  - 0.5\n  - x\n  - 0.5\n",
            r"specs\.yaml:5: a\.mean\.1: expected a number \(found 'x'\)",
        ),
        ("a:\n  model: m\n  mean: [0.5, .nan, 0.5]\n", r"specs\.yaml:3: a\.mean\.1: .*finite number \(found nan\)"),
        ("a:\n  model: m\n  std: [1, 1, 0]\n", r"specs\.yaml:3: a\.std\.2: expected more than 0.0 \(found 0\)"),
        (f"a:\n  model: m\n  seed: {2**64}\n", r"specs\.yaml:3: a\.seed: .*less than 18446744073709551616"),
        ("a:\n  model: m\n  options:\n    img_size: 3\n", r"specs\.yaml:3: a\.options: .*img_size cannot be set here"),
        (
            "a:\n  model: m\nb: resnet10t\n",
            r"specs\.yaml:3: b: expected a mapping such as `model: vit_base_patch16_224`",
        ),
        ("a:\n  model: m\n  1: 2\n", r"specs\.yaml:3: keys must be words"),
        ("- model: resnet10t\n", r"specs\.yaml: expected a mapping \(`key: value`\) at the top, found a list"),
        ("", r"specs\.yaml: expected a mapping"),
        ("{}", r"specs\.yaml: no backbones in it"),
        ("a:\n  model: [unclosed\n", r"specs\.yaml:\d+: not valid YAML"),
        ("a:\n  model: m\na:\n  model: n\n", r"specs\.yaml:3: not valid YAML: found duplicate key"),
    ],
)
def test_what_is_wrong_in_a_yaml_is_said_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        read_specs(written(tmp_path, text))
    assert str(tmp_path) in str(refusal.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ValueError, match=r"no file 'nowhere\.yaml'"):
        read_specs("nowhere.yaml")


def test_a_folder_or_binary_instead_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xff")
    for name, why in (("folder", "cannot be read"), ("binary", "is not text: it is not UTF-8 at byte 0")):
        with pytest.raises(ValueError, match=rf"{name}\.yaml {why}"):
            read_mapping(tmp_path / f"{name}.yaml")


def test_yaml_can_make_no_python_objects(tmp_path: Path) -> None:
    footprint = tmp_path / "was-run"
    text = f"a: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{footprint}']]\n"
    with pytest.raises(ValueError, match=r"specs\.yaml"):
        read_specs(written(tmp_path, text))
    assert not footprint.exists()


def test_paper_is_the_papers_three_with_dino_at_224() -> None:
    specs = read_specs("paper")
    assert specs == dict(PAPER)
    assert sorted(specs) == ["dino", "siglip", "vit"]
    assert specs["dino"].input_size == 224
    specs.clear()
    assert len(PAPER) == 3


def test_ids_with_commas_are_named_without_prefix_and_tag() -> None:
    specs = read_specs(" resnet10t.c3_in1k, hf-hub:timm/vit_tiny_patch16_224.augreg ,")
    assert {name: spec.model for name, spec in specs.items()} == {
        "resnet10t": "resnet10t.c3_in1k",
        "vit_tiny_patch16_224": "hf-hub:timm/vit_tiny_patch16_224.augreg",
    }


def test_the_same_id_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'resnet10t,resnet10t' names a backbone twice"):
        read_specs("resnet10t,resnet10t")


def test_two_ids_of_one_short_name_are_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        read_specs("vit_base_patch16_224.augreg_in1k,vit_base_patch16_224.mae")


def test_no_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="no backbones; expected `paper`, `demo`, `photos`, a YAML file, or timm ids"):
        read_specs(" , ")


def test_keys_of_nested_settings_get_their_own_hints_and_line(tmp_path: Path) -> None:
    text = "steps: 5\nrecipe:\n  name: mine\n  learning_rat: 0.1\n"
    content = read_mapping(written(tmp_path, text))
    with pytest.raises(
        ValueError, match=r"f\.yaml:4: unknown key 'fit\.recipe\.learning_rat'; did you mean 'learning_rate'\?"
    ):
        check_mapping(FitSettings, content, "f.yaml", ["fit"])


def test_a_missing_key_is_put_on_the_line_of_its_mapping(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"specs\.yaml:[34]: b\.model: it is missing"):
        read_specs(written(tmp_path, "a:\n  model: resnet10t\nb:\n  weights: random\n"))


def test_a_type_error_of_a_settings_own_check_is_no_mistake_of_the_file(tmp_path: Path) -> None:
    class Faulty(BaseModel):
        steps: int

        @field_validator("steps")
        @classmethod
        def _of_words(cls, steps: int) -> int:
            return len(steps)  # type: ignore[arg-type]  # what is tested

    with pytest.raises(TypeError, match="has no len"):
        check_mapping(Faulty, read_mapping(written(tmp_path, "steps: 5\n")), "f.yaml")
