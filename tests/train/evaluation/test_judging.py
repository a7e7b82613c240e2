"""Monosemanticity against a dense reference, and who may judge."""

from pathlib import Path

import pytest
import torch
from edited_networks import SPECS, space, vit
from torch.nn import functional

from usae_train.backbones.backbone import Backbone
from usae_train.evaluation.judging import Judge, judge_spec, monosemanticity, open_judge, same_network
from usae_train.evaluation.picture_embeddings import PictureEmbeddings
from usae_train.model.usae import USAE

ONE = "one: {model: vit_tiny_patch16_224, weights: random, input_size: 32, options: {depth: 1, embed_dim: 12, num_heads: 2}}\n"  # noqa: E501


def dense(peaks: torch.Tensor, embeddings: torch.Tensor) -> list[float]:
    """Every pair of pictures, weighted by both codes."""
    unit, found = functional.normalize(embeddings.double(), dim=-1), []
    cosines = (unit @ unit.T).tolist()
    for codes in peaks.T.tolist():
        above = below = 0.0
        for i, a in enumerate(codes):
            for j, b in enumerate(codes):
                if i != j:
                    above += a * b * cosines[i][j]
                    below += a * b
        found.append(above / below if below else float("nan"))
    return found


def test_it_is_the_mean_cosine_of_all_pairs_weighted_by_their_codes() -> None:
    generator = torch.Generator().manual_seed(0)
    peaks = (torch.randn(9, 300, generator=generator)).relu()  # more concepts than are taken at once
    peaks[:, 0] = 0
    peaks[1:, 1] = 0  # in one picture only
    embeddings = functional.normalize(torch.randn(9, 5, generator=generator), dim=-1)
    found, expected = monosemanticity(peaks, embeddings), torch.tensor(dense(peaks, embeddings), dtype=torch.double)
    torch.testing.assert_close(found, expected, equal_nan=True, atol=1e-6, rtol=1e-5)
    assert found[:2].isnan().all()


def test_alike_pictures_are_one_and_opposite_ones_are_minus_one() -> None:
    embeddings = torch.tensor([[1.0, 0], [1, 0], [-1, 0]])
    peaks = torch.tensor([[2.0, 2], [3, 0], [0, 1]])
    assert monosemanticity(peaks, embeddings).tolist() == pytest.approx([1, -1])


def test_pictures_apart_and_merged_are_embedded_as_together(pictures) -> None:
    judge = Judge(Backbone("judge", vit(7, layer=-1, norm=True)))
    whole, one, other = (PictureEmbeddings(judge) for _ in range(3))
    whole.add(torch.tensor([4, 5]), pictures)
    one.add(torch.tensor([4]), pictures[:1])
    other.add(torch.tensor([5]), pictures[1:])
    one.merge(other.state_dict())
    assert one.numbers.tolist() == whole.numbers.tolist() == [4, 5]
    torch.testing.assert_close(one.embeddings, whole.embeddings)
    torch.testing.assert_close(one.embeddings.norm(dim=1), torch.ones(2))


def test_an_earlier_layer_is_read_as_the_mean_of_its_patches(pictures) -> None:
    backbone = Backbone("judge", vit(7, layer=0))
    assert not Judge(backbone).final
    expected = functional.normalize(backbone(pictures).mean(1), dim=-1)
    torch.testing.assert_close(Judge(backbone).embed(pictures), expected)


@pytest.fixture
def usae() -> USAE:
    return space({"vit": SPECS["vit"]})


def test_a_yaml_of_one_and_of_several(usae, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(ONE)
    (tmp_path / "two.yaml").write_text(ONE + ONE.replace("one", "other"))
    assert open_judge(f"{tmp_path}/one.yaml", usae).backbone.name == "one"
    assert judge_spec(f"{tmp_path}/two.yaml:other")[0] == "other"
    with pytest.raises(ValueError, match=r"two.yaml is 2 backbones; say which: .*two.yaml:one"):
        judge_spec(f"{tmp_path}/two.yaml")
    with pytest.raises(ValueError, match="has no backbone 'third'; it has one, other"):
        judge_spec(f"{tmp_path}/two.yaml:third")
    with pytest.raises(ValueError, match="no_such_network"):
        open_judge("no_such_network", usae)


@pytest.mark.parametrize("changes", [{}, {"layer": -1, "norm": True}])
def test_the_spaces_own_backbone_does_not_judge_unless_told(usae, monkeypatch, changes) -> None:
    own = SPECS["vit"].model_copy(update=changes)
    monkeypatch.setattr("usae_train.evaluation.judging.judge_spec", lambda text: ("mine", own))
    with pytest.raises(ValueError, match=r"is this USAE's own backbone vit, which would judge itself.*own:vit"):
        open_judge("mine", usae)
    assert open_judge("own:vit", usae).backbone is usae.backbones["vit"]
    with pytest.raises(ValueError, match="unknown backbone 'vot'"):
        open_judge("own:vot", usae)


def test_without_its_classifier_it_is_the_same_network(usae) -> None:
    bare = Backbone("bare", vit().model_copy(update={"classes": 0}))
    bare.model.load_state_dict(usae.backbones["vit"].model.state_dict(), strict=False)
    assert same_network(bare, usae.backbones["vit"])


def test_another_seed_is_another_network(usae) -> None:
    assert not same_network(Backbone("other", vit(9)), usae.backbones["vit"])
