"""A space that another library trained is drawn, verified, evaluated and shown as one of ours, whatever its format."""

import math

import pytest
import sae_files
import torch

import usae_train as ut
import usae_viz as uv
from usae_train.backbones.backbone import BackboneSpec
from usae_train.evaluation.evaluate import evaluate_source
from usae_train.images.sources import open_images
from usae_train.model.checkpoint import fill_statistics
from usae_viz.explorer.page import explore
from usae_viz.explorer.sources import open_sources

OPTIONS = {"patch_size": 8, "embed_dim": sae_files.WIDTH, "depth": 1, "num_heads": 1}
SPEC = BackboneSpec(model="vit_tiny_patch16_224", weights="random", input_size=16, options=OPTIONS)
MAKERS = [makers[-1] for makers in sae_files.FILES.values()] + [sae_files.saelens_standard, sae_files.saelens_topk]


@pytest.fixture
def imported(tmp_path):
    def made(maker):
        (tmp_path / "made").mkdir()
        written = maker(tmp_path / "made")
        ut.save(ut.import_sae(written.place, SPEC, name="vit", **written.options), tmp_path / "usae")
        return ut.load(tmp_path / "usae")

    return made


@pytest.mark.parametrize("maker", MAKERS, ids=[maker.__name__ for maker in MAKERS])
def test_it_is_drawn_and_verified(imported, maker):
    usae = imported(maker)
    assert (usae.grid, usae.widths, list(usae.weights)) == ((2, 2), {"vit": sae_files.WIDTH}, ["vit"])
    tokens = usae.tokens("vit", torch.rand(3, 3, 16, 16))
    concept = int(usae.encode("vit", tokens).dense(sae_files.CONCEPTS).amax((0, 1)).argmax())
    drawn = uv.maximize(usae, uv.Concept(concept), size=16, steps=2, views=2, seed=0)
    assert drawn.images["vit"].shape == (3, 16, 16)
    score = drawn.scores["vit"]["vit"]
    assert score.code >= 0
    assert 1 <= score.rank <= sae_files.CONCEPTS


@pytest.mark.parametrize("maker", [sae_files.saelens_jumprelu, sae_files.saev_topk])
def test_it_is_evaluated_and_shown(imported, tmp_path, maker):
    usae, source = imported(maker), open_images("demo:test", 9)
    report, statistics = evaluate_source(usae, source)
    assert report["k"] == usae.k
    assert not math.isnan(report["r2"]["vit"]["vit"])
    fill_statistics(usae, statistics, source, report["truth"]["factors"])
    assert explore(open_sources([str(tmp_path / "usae")]), tmp_path / "page", patches=1) == []
    assert usae.sparsity.in_words(usae.k) in next((tmp_path / "page").rglob("data.js")).read_text()


def test_a_backbone_of_another_width_is_one_line(tmp_path):
    written = sae_files.saelens_topk(tmp_path)
    wide = SPEC.model_copy(update={"options": {**OPTIONS, "embed_dim": 8}})
    with pytest.raises(ValueError, match=r"takes tokens of 4 features, and vit .* gives 8; name the backbone"):
        ut.import_sae(written.place, wide, name="vit")
