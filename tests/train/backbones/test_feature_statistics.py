"""What batch norms know of natural features is kept through folding, and measured as its plain formula says."""

import pytest
import torch
import torchvision
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from usae_train.backbones.backbone import Backbone, BackboneSpec
from usae_train.backbones.feature_statistics import distances_from_natural, keep_statistics, with_statistics
from usae_train.backbones.folding import Pair, fold
from usae_train.backbones.module_backbone import ModuleBackbone

SIZE = 64
CONVOLUTIONAL = ["resnet10t", "tf_efficientnet_lite0", "regnetx_002"]


def backbone(name: str) -> Backbone:
    torch.manual_seed(0)
    return Backbone("a", BackboneSpec(model=name, weights="random", input_size=SIZE, classes=7))


def shown(n: int = 4) -> Tensor:
    return torch.rand(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def dense(features: Tensor, mean: Tensor, std: Tensor, n_pictures: int) -> Tensor:
    """The distance as its docstring has it, for autograd to go through."""
    rows = features.unflatten(0, (n_pictures, -1))
    of_mean = (rows.mean((1, 3, 4)) - mean) / std
    of_std = (rows.var((1, 3, 4), unbiased=False) + 1e-8).sqrt() / std - 1
    return (of_mean.square() + of_std.square()).mean(1)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_distances_and_their_gradient_are_those_of_the_formula(name: str) -> None:
    model = backbone(name).model
    own, plain = shown().requires_grad_(), shown().requires_grad_()
    with distances_from_natural(model, 2, 10**9) as distances:
        model(own)
    assert len(distances) == len(with_statistics(model)) > 5
    torch.stack(distances).sum().backward()
    expected = list[Tensor]()
    handles = [
        module.register_forward_hook(
            lambda module, given, features: expected.append(
                dense(features.clone(), module.natural_mean, module.natural_std, 2)
            )
        )
        for module in with_statistics(model)
    ]
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    model(plain)
    for handle in handles:
        handle.remove()
    torch.stack(expected).sum().backward()
    torch.testing.assert_close(torch.stack(distances), torch.stack(expected), rtol=1e-4, atol=1e-5)
    assert own.grad is not None
    assert plain.grad is not None
    assert torch.cosine_similarity(own.grad.flatten(), plain.grad.flatten(), dim=0) > 0.999
    torch.testing.assert_close(own.grad.norm(), plain.grad.norm(), rtol=1e-2, atol=0)


def test_a_pass_is_the_same_while_distances_are_taken_and_leaves_no_hooks() -> None:
    model = backbone("resnet10t").model
    before = model(shown())
    with distances_from_natural(model, 1, 10**9):
        assert torch.equal(model(shown()), before)
    with distances_from_natural(model, 1, 10**9) as distances:
        pass
    model(shown())
    assert distances == []


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(5), nn.BatchNorm2d(5, affine=False), BatchNormAct2d(5)])
def test_what_a_norm_was_trained_on_has_no_distance(norm: nn.BatchNorm2d) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), norm)
    norm.momentum = 1.0
    model(shown())  # in training: the norm takes the statistics of these pictures
    model.eval().requires_grad_(False)
    pair = Pair(model[0], norm)
    keep_statistics([pair])
    fold(model, [pair])
    with distances_from_natural(model, 1, 10**9) as distances:
        model(shown())
        model(shown() * 0.5)
    natural, darker = torch.cat(distances).tolist()
    assert natural < 1e-4
    assert darker > 0.2


def test_features_larger_than_the_views_are_left_out() -> None:
    model = backbone("tf_efficientnet_lite0").model
    sizes = list[int]()
    handles = [m.register_forward_hook(lambda m, g, f: sizes.append(f[0].numel())) for m in with_statistics(model)]
    model(shown())
    for handle in handles:
        handle.remove()
    with distances_from_natural(model, 1, 3 * SIZE**2) as distances:
        model(shown())
    assert len(distances) == sum(size <= 3 * SIZE**2 for size in sizes) < len(sizes)


def test_a_transformer_has_none() -> None:
    assert with_statistics(Backbone("a", BackboneSpec(model="vit_tiny_patch16_224", weights="random")).model) == []


def test_a_module_of_ones_own_has_those_of_its_batch_norms() -> None:
    torch.manual_seed(0)
    module = torchvision.models.resnet18(weights=None)  # with activations and sums that work in place
    own = ModuleBackbone(module, "layer2", input_size=SIZE, classes=1000)
    picture = shown().requires_grad_()
    with distances_from_natural(own.model, 2, 10**9) as distances:
        own.model(picture)
    assert len(distances) == sum(isinstance(each, torch.nn.BatchNorm2d) for each in module.modules())
    torch.stack(distances).sum().backward()
    assert picture.grad is not None
    assert picture.grad.isfinite().all()
    assert not any("natural" in name for name in module.state_dict())
