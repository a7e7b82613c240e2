"""What batch norms know of natural features is kept through folding, and measured as its plain formula says."""

import pytest
import torch
import torchvision
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from usae_train.backbones.backbone import Backbone, BackboneSpec
from usae_train.backbones.feature_statistics import (
    keep_statistics,
    norms_with_statistics,
    statistics_distances,
    unnaturalness,
)
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
    with statistics_distances(model, 2, 10**9) as distances:
        model(own)
    assert len(distances) == len(norms_with_statistics(model)) > 5
    torch.stack(list(distances.values())).sum().backward()
    expected = list[Tensor]()
    handles = [
        module.register_forward_hook(
            lambda module, given, features: expected.append(
                dense(features.clone(), module.natural_mean, module.natural_std, 2)
            )
        )
        for module in norms_with_statistics(model)
    ]
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    model(plain)
    for handle in handles:
        handle.remove()
    torch.stack(expected).sum().backward()
    torch.testing.assert_close(torch.stack(list(distances.values())), torch.stack(expected), rtol=1e-4, atol=1e-5)
    assert own.grad is not None
    assert plain.grad is not None
    assert torch.cosine_similarity(own.grad.flatten(), plain.grad.flatten(), dim=0) > 0.999
    torch.testing.assert_close(own.grad.norm(), plain.grad.norm(), rtol=1e-2, atol=0)


def test_a_pass_is_the_same_while_distances_are_taken_and_leaves_no_hooks() -> None:
    model = backbone("resnet10t").model
    before = model(shown())
    with statistics_distances(model, 1, 10**9):
        assert torch.equal(model(shown()), before)
    with statistics_distances(model, 1, 10**9) as distances:
        pass
    model(shown())
    assert distances == {}


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
    seen = []
    for pictures in (shown(), shown() * 0.5):
        with statistics_distances(model, 1, 10**9) as distances:
            model(pictures)
        seen += torch.cat(list(distances.values())).tolist()
    assert seen[0] < 1e-4
    assert seen[1] > 0.2


def test_features_larger_than_the_views_are_left_out() -> None:
    model = backbone("tf_efficientnet_lite0").model
    sizes = list[int]()
    handles = [
        m.register_forward_hook(lambda m, g, f: sizes.append(f[0].numel())) for m in norms_with_statistics(model)
    ]
    model(shown())
    for handle in handles:
        handle.remove()
    with statistics_distances(model, 1, 3 * SIZE**2) as distances:
        model(shown())
    assert len(distances) == sum(size <= 3 * SIZE**2 for size in sizes) < len(sizes)


def test_a_transformer_has_none() -> None:
    assert (
        norms_with_statistics(Backbone("a", BackboneSpec(model="vit_tiny_patch16_224", weights="random")).model) == []
    )


def test_a_module_of_ones_own_has_those_of_its_batch_norms() -> None:
    torch.manual_seed(0)
    module = torchvision.models.resnet18(weights=None)  # with activations and sums that work in place
    own = ModuleBackbone(module, "layer2", input_size=SIZE, classes=1000)
    picture = shown().requires_grad_()
    with statistics_distances(own.model, 2, 10**9) as distances:
        own.model(picture)
    assert len(distances) == sum(isinstance(each, torch.nn.BatchNorm2d) for each in module.modules())
    torch.stack(list(distances.values())).sum().backward()
    assert picture.grad is not None
    assert picture.grad.isfinite().all()
    assert not any("natural" in name for name in module.state_dict())
    assert not any("natural" in name for name, _ in module.named_buffers())


def test_a_module_with_classes_is_passed_once_and_has_the_statistics_of_its_weights_of_now() -> None:
    torch.manual_seed(0)
    module = torchvision.models.resnet18(weights=None)
    other = torchvision.models.resnet18(weights=None)
    for norm in other.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight.data.uniform_(0.5, 2)
            norm.bias.data.normal_()
    own = ModuleBackbone(module, "layer2", input_size=SIZE, classes=1000)
    passes = list[int]()
    handle = module.conv1.register_forward_hook(lambda module, given, output: passes.append(len(output)))
    tokens, logits = own.tokens_and_logits(shown())
    handle.remove()
    assert passes == [4]
    assert torch.equal(tokens, own(shown()))
    assert torch.equal(logits, own.logits(shown()))
    module.load_state_dict(other.state_dict())
    taken = []
    for backbone in (own, ModuleBackbone(other, "layer2", input_size=SIZE, classes=1000)):
        with statistics_distances(backbone.model, 2, 10**9) as distances:
            backbone.model(shown())
        taken.append(torch.stack(list(distances.values())))
    assert torch.equal(*taken)


def test_a_norm_that_two_passes_go_through_counts_once() -> None:
    model = backbone("resnet10t").model
    with statistics_distances(model, 1, 10**9) as distances:
        model(shown() * 0.5)
        model(shown())
    with statistics_distances(model, 1, 10**9) as once:
        model(shown())
    assert len(distances) == len(once)
    assert torch.equal(torch.stack(list(distances.values())), torch.stack(list(once.values())))


def test_norms_that_stand_by_themselves_in_a_backbone_are_used() -> None:
    own = backbone("xcit_nano_12_p16_224")  # its norms within blocks come before no convolution
    alone = {module for module in own.model.modules() if type(module) is nn.BatchNorm2d}
    with statistics_distances(own.model, 1, 10**9) as distances:
        own.model(shown())
    assert len(alone) > 5
    assert alone < distances.keys()  # those of its stem are folded


def test_a_norm_that_scales_all_by_nothing_has_no_distance() -> None:
    norm = nn.BatchNorm2d(3)
    nn.init.zeros_(norm.weight)
    model = nn.Sequential(norm).eval()
    with statistics_distances(model, 1, 10**9) as distances:
        model(shown())
    assert distances[norm].tolist() == [0.0]


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_in_bfloat16_distances_and_their_gradient_are_nearly_those_of_float32(name: str) -> None:
    model, taken = backbone(name).model, []
    for half in (False, True):
        pictures = shown().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half), statistics_distances(model, 2, 10**9) as distances:
            model(pictures)
        of_norms = torch.stack(list(distances.values()))
        of_norms.sum().backward()
        assert pictures.grad is not None
        taken.append((of_norms.detach(), pictures.grad.flatten()))
    (exact, gradient), (near, near_gradient) = taken
    torch.testing.assert_close(near, exact, rtol=0.05, atol=1e-3)
    assert torch.cosine_similarity(gradient, near_gradient, dim=0) > 0.95


def test_no_more_is_asked_than_of_a_photograph_and_the_last_norm_counts_a_tenth_of_the_first() -> None:
    near, far = torch.tensor([0.1, 0.25]), torch.tensor([1.25, 0.75])
    assert unnaturalness([near, near, near]).tolist() == [0.0, 0.0]
    first, last = unnaturalness([far, near, near]), unnaturalness([near, near, far])
    assert torch.allclose(first, 10 * last)
    assert torch.allclose(unnaturalness([far, far, far]), torch.tensor([1.0, 0.5]))
    assert torch.allclose(unnaturalness([far]), torch.tensor([1.0, 0.5]))
