"""Explanations of photographs by real networks."""

import pytest
import torch

import usae_train as ut
import usae_viz as uv
from usae_train.backbones.backbone import Backbone
from usae_train.interventions.edit_site import edit_site_of
from usae_train.model.spec_files import read_specs
from usae_train.model.usae import USAE

pytestmark = pytest.mark.real

BEE = "photos/held/opencv_european-honey-bee_6691.jpg"


def test_concepts_that_are_called_important_carry_the_answer(real):
    """The five most important of lite0 in a bee, against five of those that fire, taken at random."""
    usae = ut.load("photos")
    seen = uv.explain(usae, real / BEE)
    assert seen.answer("lite0").name == "bee"
    backbone, class_ = usae.backbones["lite0"], seen.answer("lite0").class_

    def lost(concepts: list[int]) -> float:
        with torch.no_grad(), ut.intervene(usae, "lite0", dict.fromkeys(concepts, 0.0)):
            return seen.answer("lite0").logit - backbone.logits(seen.canvas)[0, class_].item()

    most = [each.concept for each in seen.importance("lite0", "bee") if each.best > 0][:5]
    firing = seen.maps["lite0"].firing
    generator = torch.Generator().manual_seed(0)
    random = [lost([firing[at] for at in torch.randperm(len(firing), generator=generator)[:5]]) for _ in range(4)]
    assert lost(most) > 1.5
    assert lost(most) > 3 * sum(random) / 4
    assert lost([]) == pytest.approx(0, abs=1e-5)


@torch.no_grad()
def test_a_transformer_read_in_the_middle_with_its_final_norm(real):
    """DINOv2 at block 8: the edit reaches the stream, the class token and, through it, the embedding."""
    spec = read_specs(str(real / "specs.yaml"))["dino"]
    backbone = Backbone("dino", spec)
    usae = USAE({"dino": backbone.width}, 32, 4, specs={"dino": spec}, grid=backbone.grid).eval()
    usae._backbones = {"dino": backbone}
    canvas = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    tokens, plain = backbone(canvas), backbone.embedding(canvas)
    usae.scale("dino").set(tokens.mean(), tokens.std())
    site = edit_site_of(backbone)
    assert site.module is backbone.model.blocks[8]
    assert site.norm is not None
    concept = int(usae.encode("dino", tokens).indices[0, 0, 0])
    with ut.intervene(usae, "dino", {concept: ("scale", 1.0)}):
        assert torch.equal(backbone.embedding(canvas), plain)
    with ut.intervene(usae, "dino", {concept: ("scale", 3.0)}):
        assert not torch.allclose(backbone.embedding(canvas), plain, atol=1e-3)
        codes = usae.encode("dino", tokens)
        by = 2 * codes.of(concept)[..., None] * usae.scale("dino").std * usae.dictionary("dino")[concept]
        moved = backbone(canvas) - tokens
        touched = codes.of(concept) > 0
        assert torch.cosine_similarity(moved[touched], by[touched]).mean() > 0.95  # normed anew
        assert not moved[~touched].any()
