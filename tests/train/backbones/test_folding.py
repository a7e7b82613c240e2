"""A network with its batch norms folded says what it said before: tokens, logits and the gradient of the picture."""

from typing import Any

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from usae_train.backbones import timm_models
from usae_train.backbones.backbone import Backbone, BackboneSpec
from usae_train.backbones.folding import PassRecorder, fold, lay_channels_last

SIZE = 64
FOLDED = ["resnet10t", "tf_efficientnet_lite0", "regnetx_002", "mobilenetv3_small_050"]
IN_PART = ["densenet121", "repvgg_a0"]  # some norms stand before a convolution, or beside it


def lived(model: nn.Module) -> nn.Module:
    """The model with batch norms as a training leaves them: fresh ones scale nothing."""
    generator = torch.Generator().manual_seed(0)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        for around_zero in (norm.running_mean, norm.bias):
            around_zero.data.uniform_(-0.2, 0.2, generator=generator)
        for around_one in (norm.running_var, norm.weight):
            around_one.data.uniform_(0.5, 1.5, generator=generator)
    return model


def shown(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)).to(dtype)


def norms_of(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def answers(model: nn.Module) -> list[Tensor]:
    """An inner layer, logits, and the gradient of both at the picture; in double precision, where no ReLU tips over."""
    picture = shown(torch.float64).requires_grad_()
    (layer,) = model.forward_intermediates(picture, indices=[1], intermediates_only=True)  # type: ignore[operator]
    logits = model(picture)
    weights = torch.rand(layer.shape, generator=torch.Generator().manual_seed(2))
    ((layer * weights).mean() + logits[:, 3].mean()).backward()
    assert picture.grad is not None
    return [layer.detach(), logits.detach(), picture.grad]


@pytest.mark.parametrize("name", [*FOLDED, *IN_PART])
def test_layers_logits_and_gradients_stay(name: str) -> None:
    spec = BackboneSpec(model=name, weights="random", input_size=SIZE, classes=7)
    model = lived(timm_models.create_model("a", spec)).double().eval().requires_grad_(False)
    expected, norms = answers(model), norms_of(model)
    with PassRecorder(model) as seen:
        logits = model(shown(torch.float64))
    fold(model, seen.pairs(logits))
    lay_channels_last(model)
    assert norms_of(model) == 0 if name in FOLDED else 0 < norms_of(model) < norms
    for own, before in zip(answers(model), expected, strict=True):
        torch.testing.assert_close(own, before, rtol=1e-6, atol=1e-9)


def two(monkeypatch: pytest.MonkeyPatch, **spec: Any) -> tuple[Backbone, Backbone]:
    """A backbone, and the same with nothing folded and the channels where they were."""
    create = timm_models.create_model
    monkeypatch.setattr(timm_models, "create_model", lambda name, spec: lived(create(name, spec)))
    own = BackboneSpec(weights="random", input_size=SIZE, **spec)
    folded = Backbone("a", own)
    monkeypatch.setattr("usae_train.backbones.folding.fold", lambda model, pairs: None)
    monkeypatch.setattr("usae_train.backbones.folding.lay_channels_last", lambda model: torch.contiguous_format)
    return folded, Backbone("a", own)


@pytest.mark.parametrize("classes", [0, 7])
def test_a_backbone_folds_what_it_reads_and_its_classifier(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    folded, plain = two(monkeypatch, model="tf_efficientnet_lite0", layer=-2, classes=classes)
    torch.testing.assert_close(folded(shown()), plain(shown()), rtol=1e-3, atol=3e-4)
    assert 0 <= norms_of(folded.model) < norms_of(plain.model) / 2
    if classes:
        torch.testing.assert_close(folded.logits(shown()), plain.logits(shown()), rtol=1e-3, atol=3e-4)
        assert norms_of(folded.model) == 0


def test_a_transformer_stays_as_it_is_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    folded, plain = two(monkeypatch, model="vit_tiny_patch16_224", options={"depth": 2})
    assert torch.equal(folded(shown()), plain(shown()))


class Branching(nn.Module):
    """Its first convolution's result is used twice, its second runs twice, its third alone is followed by a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(3, 3, 1, bias=False) for _ in range(3))
        self.norms = nn.ModuleList(BatchNormAct2d(3, act_layer=nn.SiLU) for _ in range(3))

    def forward(self, picture: Tensor) -> Tensor:
        first, second, third = self.convolutions
        seen = first(picture)
        seen = seen + self.norms[0](seen)
        seen = self.norms[1](second(second(seen)))
        return self.norms[2](third(seen))


def test_only_a_norm_that_alone_takes_what_a_convolution_gives_is_folded() -> None:
    model = lived(Branching()).eval().requires_grad_(False)
    picture = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    with PassRecorder(model) as seen:
        expected = model(picture.clone())
    assert [pair.convolution for pair in seen.pairs(expected)] == [model.convolutions[2]]
    fold(model, seen.pairs(expected))
    torch.testing.assert_close(model(picture), expected)
    assert [isinstance(norm, nn.BatchNorm2d) for norm in model.norms] == [True, True, False]


def test_what_is_read_right_behind_a_convolution_is_not_scaled() -> None:
    convolution, norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
    model = lived(nn.Sequential(convolution, norm)).eval()
    with PassRecorder(model) as seen:
        between = convolution(torch.ones(1, 3, 4, 4))
        after = norm(between)
    assert not seen.pairs(between)
    assert len(seen.pairs(after)) == 1


def test_networks_of_many_convolutions_have_their_channels_last() -> None:
    one, many = nn.Sequential(nn.Conv2d(3, 4, 2)), nn.Sequential(nn.Conv2d(3, 4, 2), nn.Conv2d(4, 4, 2))
    assert lay_channels_last(one) == torch.contiguous_format
    assert lay_channels_last(many) == torch.channels_last
    assert many[1].weight.is_contiguous(memory_format=torch.channels_last)
