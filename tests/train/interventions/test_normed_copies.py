"""Read tokens that a norm has gone over: by hand, and through the network's own parts."""

import pytest
import torch
from torch import nn

import usae_train as ut
from usae_train.interventions.edit_site import EditSite, edit_site_of
from usae_train.interventions.held_norm import HeldNorm
from usae_train.interventions.layout import Layout


def by_hand() -> nn.LayerNorm:
    """Of the stream (4, 0), with mean 2 and deviation 2, it makes (1, -1) and of that (2.5, -0.5): gain 1 and 1/4."""
    norm = nn.LayerNorm(2, eps=0.0)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([2.0, 0.5]))
        norm.bias.copy_(torch.tensor([0.5, 0.0]))
    return norm.requires_grad_(False)


def test_an_edit_reaches_the_stream_with_mean_and_scale_held():
    stream = torch.tensor([[[9.0, 1.0], [4.0, 0.0], [0.0, 4.0]]])  # a class token and two patches
    site = EditSite(nn.Identity(), Layout("NLC", 1), HeldNorm(by_hand(), stream, by_hand()(stream)))
    assert site.read(stream).tolist() == [[[2.5, -0.5], [-1.5, 0.5]]]
    moved = site.move(stream, torch.tensor([[[3.0, 1.0], [0.0, 0.0]]]))
    assert moved.tolist() == [[[9.0, 1.0], [7.0, 4.0], [0.0, 4.0]]]  # 4 + 3 / 1, 0 + 1 / 0.25


def test_an_rms_norm_has_no_mean_to_hold():
    norm = nn.RMSNorm(2, eps=0.0).requires_grad_(False)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0]))
    stream = torch.tensor([[1.0, 7.0], [3.0, -1.0]])  # root mean squares 5 and sqrt 5
    gain = HeldNorm(norm, stream, norm(stream)).gain(stream[:1])
    torch.testing.assert_close(gain, torch.tensor([[0.2, 0.4]]))


def test_norms_that_cannot_be_undone_are_refused():
    stream = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    other = nn.BatchNorm1d(2).eval().requires_grad_(False)
    with pytest.raises(ValueError, match="a copy, made by a BatchNorm1d"):
        HeldNorm(other, stream, other(stream) + stream.sum())
    norm = by_hand()
    with torch.no_grad():
        norm.weight[0] = 0
    with pytest.raises(ValueError, match="that norm drops a feature"):
        HeldNorm(norm, stream, norm(stream))


@torch.no_grad()
def test_a_middle_layer_read_with_the_final_norm_is_edited_in_the_stream(edited, pictures):
    """The whole pass again, by the network's own parts: x + d / gain after block 0, then block 1, norm and head."""
    backbone = edited.backbones["normed"]
    model, site = backbone.model, edit_site_of(backbone)
    assert site.module is model.blocks[0]
    assert site.norm is not None
    assert site.norm.module is model.norm
    streams = []
    hook = model.blocks[0].register_forward_hook(lambda module, given, output: streams.append(output))
    tokens = backbone(pictures)
    hook.remove()
    stream = streams[0]
    codes = edited.encode("normed", tokens)
    by = -codes.of(2)[..., None] * edited.scale("normed").std * edited.dictionary("normed")[2]
    deviation = (stream[:, 1:].var(-1, correction=0) + model.norm.eps).sqrt()[..., None]
    changed = torch.cat([stream[:, :1], stream[:, 1:] + by * deviation / model.norm.weight], 1)
    logits = model.forward_head(model.norm(model.blocks[1](changed)))
    with ut.intervene(edited, "normed", {2: 0.0}):
        torch.testing.assert_close(backbone.logits(pictures), logits, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(backbone(pictures), model.norm(changed)[:, 1:], rtol=1e-4, atol=1e-5)
    assert codes.of(2).any()


def test_the_last_layers_norm_is_edited_behind_it(edited):
    """What is read is what the head takes, no copy."""
    site = edit_site_of(edited.backbones["last"])
    assert site.module is edited.backbones["last"].model.norm
    assert site.norm is None
