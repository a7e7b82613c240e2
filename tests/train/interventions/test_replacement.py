"""A network's answers from what the concept space makes of its tokens."""

from dataclasses import replace

import pytest
import torch

from usae_train.interventions import replacement
from usae_train.interventions.importance import find_answering_site
from usae_train.interventions.intervene import transplant
from usae_train.interventions.replacement import CLEAN, MEAN, ZERO, mean_token, replaced_logits
from usae_train.model.usae import USAE

ASKED = ("registers", "conv", "normed")


@pytest.fixture(scope="module")
def seen(edited: USAE, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return {name: backbone(pictures) for name, backbone in edited.backbones.items()}


@pytest.mark.parametrize("name", ASKED)
def test_each_backbones_codes_answer_as_a_transplant_without_the_rest(edited, pictures, seen, name) -> None:
    found = replaced_logits(edited, name, pictures, seen)
    assert found.shape == (3 + len(seen), 2, 5)
    for row, donor in enumerate(seen, start=MEAN + 1):
        with transplant(edited, name, donor, pictures, keep_rest=False) as network, torch.no_grad():
            torch.testing.assert_close(found[row], network.logits(pictures), atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(found[CLEAN], edited.backbones[name].logits(pictures))
    assert (found[CLEAN] - found[MEAN + 1]).abs().max() > 1e-3  # else nothing is tested


@pytest.mark.parametrize("name", ["registers", "conv"])
def test_the_baselines_are_zeroed_and_mean_patch_tokens(edited, pictures, seen, name, monkeypatch) -> None:
    network, site = find_answering_site(edited, name)
    mean = 3 * torch.randn(network.width, generator=torch.Generator().manual_seed(4))  # its own is near zero
    monkeypatch.setattr(replacement, "mean_token", lambda usae, backbone: mean)
    found = replaced_logits(edited, name, pictures, seen)
    assert (found[ZERO] - found[MEAN]).abs().max() > 1e-2  # else one could be the other
    for row, token in ((ZERO, torch.zeros(network.width)), (MEAN, mean)):

        def put(output: torch.Tensor, token=token) -> torch.Tensor:
            tokens = site.layout.tokens(output).clone()
            tokens[:, site.layout.prefix :] = token
            return site.layout.like(tokens, output)

        with site.hook(put), torch.no_grad():
            torch.testing.assert_close(found[row], network.logits(pictures), atol=1e-4, rtol=1e-4)


def test_the_mean_token_is_what_is_decoded_where_no_concept_fires(edited) -> None:
    none = torch.zeros(1, edited.n_concepts)
    expected = edited.scale("conv").inverse(none @ edited.rows("conv") + edited.decoder("conv").offset)[0]
    torch.testing.assert_close(mean_token(edited, "conv"), expected)


def test_one_at_a_time_and_few_pictures_at_a_time_come_to_the_same(edited, pictures, seen, monkeypatch) -> None:
    network, site = find_answering_site(edited, "conv")
    expected = replaced_logits(edited, "conv", pictures, seen)
    monkeypatch.setattr(replacement, "IMAGES_PER_PASS", 1)
    torch.testing.assert_close(replaced_logits(edited, "conv", pictures, seen), expected, atol=1e-4, rtol=1e-4)
    monkeypatch.setattr(replacement, "find_answering_site", lambda usae, name: (network, replace(site, grows=False)))
    torch.testing.assert_close(replaced_logits(edited, "conv", pictures, seen), expected, atol=1e-4, rtol=1e-4)


def test_a_backbone_without_classifier_is_one_line(pictures) -> None:
    from edited_networks import space, vit

    plain = space({"plain": vit().model_copy(update={"classes": 0})})
    with pytest.raises(ValueError, match="plain has no classifier; set `classes` in its spec"):
        replaced_logits(plain, "plain", pictures, {})
