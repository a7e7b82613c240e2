import pytest
import torch
from edited_networks import SPECS, space, vit
from torch import nn

import usae_train as ut
from usae_train.interventions import edit_site, importance
from usae_train.interventions.importance import class_view, without_each


@pytest.mark.parametrize("name", SPECS)
@torch.no_grad()
def test_ablations_beside_each_other_are_those_one_by_one(edited, pictures, name, monkeypatch):
    monkeypatch.setattr(importance, "IMAGES_PER_PASS", 4)
    backbone, canvas = edited.backbones[name], pictures[:1]
    removed = [[0], [1, 2, 3], [4], [5], [6], list(range(16))]
    together = without_each(edited, name, canvas, removed)
    torch.testing.assert_close(together[:1], backbone.logits(canvas), rtol=1e-4, atol=1e-5)
    for concepts, logits in zip(removed, together[1:], strict=True):
        with ut.intervene(edited, name, dict.fromkeys(concepts, 0.0)):
            torch.testing.assert_close(logits[None], backbone.logits(canvas), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_what_comes_before_the_read_layer_runs_once(edited, pictures):
    runs = []
    first = edited.backbones["vit"].model.patch_embed
    hook = first.register_forward_hook(lambda module, given, output: runs.append(len(output)))
    without_each(edited, "vit", pictures[:1], [[k] for k in range(16)])
    hook.remove()
    assert runs == [1]


@torch.no_grad()
def test_a_network_that_cannot_grow_on_the_way_is_run_as_a_whole(edited, pictures, monkeypatch):
    backbone, canvas = edited.backbones["conv"], pictures[:1]
    together = without_each(edited, "conv", canvas, [[0], [1]])
    whole = edit_site.replace(edit_site.edit_site_of(backbone), grows=False)
    monkeypatch.setitem(edit_site._KNOWN, backbone, whole)
    torch.testing.assert_close(without_each(edited, "conv", canvas, [[0], [1]]), together, rtol=1e-4, atol=1e-5)


def test_where_what_follows_is_linear_the_estimate_is_exact(edited, pictures):
    """`last` is read behind its norm, and then there is a mean over patches and a linear classifier."""
    canvas = pictures[:1]
    estimate = class_view(edited, "last", canvas, 2).estimate
    logits = without_each(edited, "last", canvas, [[k] for k in range(16)])
    torch.testing.assert_close(estimate, logits[0, 2] - logits[1:, 2], rtol=1e-4, atol=1e-6)
    assert (estimate != 0).sum() > 4


@pytest.mark.parametrize("name", ["vit", "normed", "conv"])
def test_elsewhere_it_is_near(edited, pictures, name):
    """For small changes it is the derivative: of a hundredth of each code, a hundredth of the estimate."""
    canvas, backbone = pictures[:1], edited.backbones[name]
    estimate = class_view(edited, name, canvas, 1).estimate
    with torch.no_grad():
        plain = backbone.logits(canvas)[0, 1]
        drops = torch.zeros(16)
        for concept in range(16):
            with ut.intervene(edited, name, {concept: ("scale", 0.99)}):
                drops[concept] = 100 * (plain - backbone.logits(canvas)[0, 1])
    assert estimate.abs().max() > 0
    torch.testing.assert_close(drops, estimate, rtol=0.1, atol=0.05 * estimate.abs().max().item())


def test_one_pass_gives_codes_logits_and_the_likeliest_class(edited, pictures):
    backbone, canvas = edited.backbones["registers"], pictures[:1]
    both = class_view(edited, "registers", canvas)
    with torch.no_grad():
        assert both.class_ == int(backbone.logits(canvas).argmax())
        torch.testing.assert_close(both.logits[None], backbone.logits(canvas))
        assert torch.equal(both.codes.indices, edited.encode("registers", backbone(canvas))[1][0])


def test_an_answer_that_no_patch_reaches_is_refused(pictures):
    usae = space({"deaf": vit(layer=-1, norm=True), "mute": vit().model_copy(update={"classes": 0})})
    for ask in (class_view, lambda *given: without_each(*given, [[1]])):
        with pytest.raises(ValueError, match="deaf: no patch token of layer -1 reaches the classifier"):
            ask(usae, "deaf", pictures[:1])
        with pytest.raises(ValueError, match="mute has no classifier"):
            ask(usae, "mute", pictures[:1])


def test_layouts_are_told_apart():
    from usae_train.interventions.layout import layout_of

    tokens = torch.randn(1, 6, 4)
    grid = tokens.unflatten(1, (2, 3))
    assert layout_of(tokens, tokens) == ("NLC", 0)
    assert layout_of(torch.cat([torch.zeros(1, 2, 4), tokens], 1), tokens) == ("NLC", 2)
    assert layout_of(grid, tokens) == ("NHWC", 0)
    assert layout_of(grid.permute(0, 3, 1, 2), tokens) == ("NCHW", 0)
    assert layout_of(grid.flip(1), tokens) is None
    assert layout_of((tokens,), tokens) is None
    assert layout_of(nn.functional.pad(grid, (0, 0, 1, 0)), tokens) is None
