import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from usae_train.backbones.backbone import Backbone, BackboneSpec, build_backbones, set_compute_dtype
from usae_train.backbones.common_sizes import common_grid
from usae_train.backbones.timm_models import create_model

CASES = {
    "vit": (
        BackboneSpec(
            model="vit_tiny_patch16_224",
            weights="random",
            input_size=64,
            options={"depth": 2, "embed_dim": 32, "num_heads": 2},
        ),
        (4, 4),
        32,
        1,
    ),
    "registers": (
        BackboneSpec(
            model="vit_small_patch14_reg4_dinov2",
            weights="random",
            input_size=42,
            options={"depth": 1, "embed_dim": 32, "num_heads": 2},
        ),
        (3, 3),
        32,
        5,
    ),
    "no class token": (
        BackboneSpec(
            model="vit_base_patch16_siglip_224",
            weights="random",
            input_size=64,
            options={"depth": 1, "embed_dim": 32, "num_heads": 2},
        ),
        (4, 4),
        32,
        0,
    ),
    "convnext": (
        BackboneSpec(
            model="convnext_atto",
            weights="random",
            input_size=64,
            options={"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 24)},
        ),
        (2, 2),
        24,
        0,
    ),
    "convnext stage 1": (
        BackboneSpec(
            model="convnext_atto",
            weights="random",
            input_size=64,
            layer=1,
            options={"depths": (1, 1, 1, 1), "dims": (8, 12, 16, 24)},
        ),
        (8, 8),
        12,
        0,
    ),
    "resnet": (BackboneSpec(model="resnet10t", weights="random", input_size=64), (2, 2), 512, 0),
    "swin": (
        BackboneSpec(
            model="swin_tiny_patch4_window7_224",
            weights="random",
            input_size=64,
            options={"depths": (1, 1), "embed_dim": 16, "num_heads": (1, 2), "window_size": 4},
        ),
        (8, 8),
        32,
        0,
    ),
    "mixer": (BackboneSpec(model="mixer_s32_224", weights="random", input_size=64), (2, 2), 512, 0),
}
VIT = CASES["vit"][0]


def canvas(size: int = 64, n: int = 2) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("case", CASES)
def test_grid_width_and_gradients_of_every_layout(case: str) -> None:
    spec, grid, width, _ = CASES[case]
    backbone = Backbone(case, spec)
    assert (backbone.grid, backbone.width) == (grid, width)
    shown = canvas(spec.input_size or 224).requires_grad_()
    tokens = backbone(shown)
    assert tokens.shape == (2, grid[0] * grid[1], width)
    (tokens * torch.randn_like(tokens)).sum().backward()
    assert shown.grad is not None
    assert (shown.grad.abs().sum((1, 2, 3)) > 0).all()
    assert all(p.grad is None and not p.requires_grad for p in backbone.parameters())


@pytest.mark.parametrize("case", ["vit", "registers", "no class token"])
def test_prefix_tokens_are_dropped_and_the_final_norm_applied(case: str) -> None:
    spec, _, _, prefix = CASES[case]
    backbone = Backbone(case, spec)
    assert backbone.model.num_prefix_tokens == prefix
    shown = canvas(spec.input_size or 224)
    everything = backbone.model.forward_features((shown - backbone.mean) / backbone.std)
    torch.testing.assert_close(backbone(shown), everything[:, prefix:])


def test_without_norm_the_layers_own_output_is_read() -> None:
    normed, bare = Backbone("n", VIT), Backbone("b", VIT.model_copy(update={"norm": False}))
    torch.testing.assert_close(normed.model.norm(bare(canvas())), normed(canvas()))
    assert not torch.allclose(bare(canvas()), normed(canvas()), atol=1e-2)


def test_an_earlier_layer_is_not_the_last() -> None:
    first, second_last, last = (Backbone("a", VIT.model_copy(update={"layer": layer})) for layer in (0, -2, 1))
    assert torch.equal(first(canvas()), second_last(canvas()))
    assert not torch.allclose(first(canvas()), last(canvas()), atol=1e-2)
    assert torch.equal(last(canvas()), Backbone("a", VIT)(canvas()))


def test_tokens_run_row_by_row() -> None:
    """A change of the canvas's top right patch, in a net without mixing, changes that token alone."""
    spec = CASES["convnext"][0].model_copy(update={"layer": 0, "input_size": 64})
    backbone = Backbone("a", spec)  # 16x16 grid of stride 4
    shown = canvas(n=1)
    changed = shown.clone()
    changed[..., :4, -4:] = 1 - changed[..., :4, -4:]
    moved = (backbone(changed) - backbone(shown)).norm(dim=-1)[0]
    assert moved.argmax().item() == 15


def test_normalization_is_the_specs() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)
    plain = Backbone("a", VIT.model_copy(update={"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}))
    own = Backbone("a", VIT.model_copy(update={"mean": mean, "std": std}))
    normalized = (canvas() - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(own(canvas()), plain(normalized))


def test_a_canvas_of_another_size_is_resized_with_antialiasing() -> None:
    backbone = Backbone("a", VIT)
    large = canvas(160)
    small = functional.interpolate(large, (64, 64), mode="bilinear", antialias=True)
    assert torch.equal(backbone(large), backbone(small))


def test_tokens_are_resampled_to_the_common_grid() -> None:
    backbone = Backbone("a", VIT)
    own = backbone(canvas())
    assert torch.equal(backbone(canvas(), (4, 4)), own)
    features = own.mT.unflatten(-1, (4, 4))
    expected = functional.interpolate(features, (2, 3), mode="bilinear", antialias=True).flatten(2).mT
    torch.testing.assert_close(backbone(canvas(), (2, 3)), expected)


def test_halving_the_grid_weighs_neighbours_by_a_triangle() -> None:
    """Bilinear with antialiasing, by hand: distances 0.5, 0.5 and 1.5 of a triangle of half-width 2."""
    backbone = Backbone("a", VIT)
    weights = torch.tensor([[0.75, 0.75, 0.25, 0.0], [0.0, 0.25, 0.75, 0.75]]) / 1.75
    own = backbone(canvas()).unflatten(1, (4, 4))
    expected = torch.einsum("yi,xj,nijc->nyxc", weights, weights, own).flatten(1, 2)
    torch.testing.assert_close(backbone(canvas(), (2, 2)), expected)


def test_the_common_grid_is_the_coarsest(tiny_specs: dict[str, BackboneSpec]) -> None:
    built = build_backbones(tiny_specs)
    assert list(built) == ["vit", "conv"]
    assert common_grid(list(built.values())) == built["conv"].grid == (2, 2)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 64, 64, 3)])
def test_a_canvas_of_another_form_is_refused_with_its_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"a: canvas has shape \(.*\); expected \(batch, 3, height, width\)"):
        Backbone("a", VIT)(torch.zeros(shape))


def test_random_weights_come_from_the_specs_seed_alone() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = Backbone("a", VIT)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = Backbone("a", VIT), Backbone("a", VIT.model_copy(update={"seed": 5}))
    assert torch.equal(first(canvas()), again(canvas()))
    assert not torch.allclose(first(canvas()), other(canvas()))


def saved(file: Path, seed: int = 3, **changes: object) -> BackboneSpec:
    """A spec whose weights lie in `file`, as random ones of another seed than its own."""
    donor = Backbone("donor", VIT.model_copy(update={"seed": seed, **changes}))
    if file.suffix == ".safetensors":
        save_file(donor.model.state_dict(), file)
    else:
        torch.save(donor.model.state_dict(), file)
    return VIT.model_copy(update={"weights": str(file)})


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_local_weights_come_back_equal(tmp_path: Path, name: str) -> None:
    loaded = Backbone("a", saved(tmp_path / name))
    donor = Backbone("a", VIT.model_copy(update={"seed": 3}))
    assert torch.equal(loaded(canvas()), donor(canvas()))
    assert not torch.allclose(loaded(canvas()), Backbone("a", VIT)(canvas()))


def test_a_missing_weight_file_is_named() -> None:
    with pytest.raises(ValueError, match=r"a: no weight file at 'nowhere\.pth'; expected a \.safetensors or \.pth"):
        Backbone("a", VIT.model_copy(update={"weights": "nowhere.pth"}))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_truncated_weight_file_is_named(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    spec = saved(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"a: .*{name} is not a readable weight file .*cut short"):
        Backbone("a", spec)


def test_another_models_weights_are_refused(tmp_path: Path) -> None:
    save_file(create_model("donor", CASES["resnet"][0]).state_dict(), tmp_path / "resnet.safetensors")
    with pytest.raises(ValueError, match=r"a: .*resnet\.safetensors does not fit 'vit_tiny_patch16_224'"):
        Backbone("a", VIT.model_copy(update={"weights": str(tmp_path / "resnet.safetensors")}))


def test_a_file_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    spec = saved(tmp_path / "w.safetensors")
    weights = load_file(tmp_path / "w.safetensors")
    del weights["blocks.1.mlp.fc1.weight"]
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"does not fit.*blocks\.1\.mlp\.fc1\.weight|does not fit.*Missing key"):
        Backbone("a", spec)


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    spec = saved(tmp_path / "w.safetensors", options={"depth": 2, "embed_dim": 48, "num_heads": 2})
    with pytest.raises(ValueError, match="does not fit 'vit_tiny_patch16_224'"):
        Backbone("a", spec)


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, (f"open({str(self.target)!r}, 'w').close()",))


def test_a_pickle_with_code_is_refused_and_never_run(tmp_path: Path) -> None:
    file, footprint = tmp_path / "w.pth", tmp_path / "was-run"
    torch.save({"cls_token": _Bomb(footprint)}, file)
    with pytest.raises(
        ValueError,
        match=r"w\.pth holds more than tensors, and nothing that can run code is loaded; save its state_dict",
    ):
        Backbone("a", VIT.model_copy(update={"weights": str(file)}))
    assert not footprint.exists()
    file.write_bytes(pickle.dumps(_Bomb(footprint), protocol=2))
    with pytest.raises(
        ValueError,
        match=r"w\.pth holds more than tensors, and nothing that can run code is loaded; save its state_dict",
    ):
        Backbone("a", VIT.model_copy(update={"weights": str(file)}))
    assert not footprint.exists()
    pickle.loads(file.read_bytes())
    assert footprint.exists(), "the bomb is none: the test holds nothing"


def test_unknown_models_name_the_nearest() -> None:
    with pytest.raises(
        ValueError, match=r"a: timm knows no model 'vit_tinny_patch16_224'; the nearest are vit_tiny_pat"
    ):
        Backbone("a", BackboneSpec(model="vit_tinny_patch16_224", weights="random"))


def test_unknown_options_are_named() -> None:
    with pytest.raises(ValueError, match=r"^a: 'vit_tiny_patch16_224' has no option 'dept' .*; it has depth$"):
        Backbone("a", VIT.model_copy(update={"options": {"dept": 1}}))


def test_options_that_have_a_field_of_their_own_are_refused() -> None:
    with pytest.raises(ValueError, match="img_size cannot be set here; use `input_size`, `weights` and `classes`"):
        BackboneSpec(model="vit_tiny_patch16_224", options={"img_size": 64})


def test_relative_weights_lie_in_the_folder_and_nothing_else_moves() -> None:
    folder = Path("/some/where")
    moved = BackboneSpec(model="m", weights="w/a.pth").relative_to(folder)
    assert moved.weights == "/some/where/w/a.pth"
    for weights in ("pretrained", "random", "/else/a.pth"):
        assert BackboneSpec(model="m", weights=weights).relative_to(folder).weights == weights


@pytest.mark.parametrize("layer", [2, 99, -3])
def test_a_layer_that_is_not_there_is_refused_in_words(layer: int) -> None:
    with pytest.raises(ValueError, match="layer"):
        Backbone("a", VIT.model_copy(update={"layer": layer}))


def test_a_fault_while_norms_are_folded_is_not_said_of_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usae_train.backbones.folding.fold", lambda: None)  # which takes no network
    with pytest.raises(TypeError, match="positional arguments"):
        Backbone("a", VIT)


def test_an_unknown_tag_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Backbone("a", VIT.model_copy(update={"model": "vit_tiny_patch16_224.nonsense"}))


def test_half_precision_comes_near_and_tokens_stay_float32(tiny_specs: dict[str, BackboneSpec]) -> None:
    canvas = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    backbones = build_backbones(tiny_specs)
    exact = {name: backbone(canvas) for name, backbone in backbones.items()}
    set_compute_dtype(backbones.values(), "auto")
    assert all(torch.equal(backbone(canvas), exact[name]) for name, backbone in backbones.items()), "on the CPU"
    with torch.autocast("cpu", torch.bfloat16):  # who draws pictures says by autocast what they run in
        assert not torch.equal(backbones["vit"](canvas).float(), exact["vit"])
    set_compute_dtype(backbones.values(), "bfloat16")
    for name, backbone in backbones.items():
        tokens = backbone(canvas)
        assert tokens.dtype == torch.float32
        assert 0 < (tokens - exact[name]).abs().mean() < 0.05 * exact[name].abs().mean()
    set_compute_dtype(backbones.values(), "float32")
    assert torch.equal(backbones["vit"](canvas), exact["vit"])
    with pytest.raises(ValueError, match="dtype 'half': expected auto, float32 or bfloat16"):
        set_compute_dtype(backbones.values(), "half")
