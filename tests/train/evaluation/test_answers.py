"""Loss recovered by hand, and whose classes labels are."""

import math

import pytest
import torch

from usae_train.evaluation.answers import Answers, check_answers, classifier_classes, surviving_answers
from usae_train.images.classes import ImageClasses

# clean, zeros, the mean token, codes of `a`: accuracy and cross-entropy
MEANS = torch.tensor([[0.8, 1.0], [0.0, 5.0], [0.1, 3.0], [0.6, 2.0]], dtype=torch.double)


def test_loss_recovered_by_hand() -> None:
    found = surviving_answers(MEANS, ["a"])["from"]["a"]
    assert found["accuracy_share"] == pytest.approx(0.75)
    assert found["loss_recovered"] == pytest.approx((5 - 2) / (5 - 1))
    assert found["loss_recovered_from_mean"] == pytest.approx((3 - 2) / (3 - 1))


def test_where_taking_the_tokens_away_does_no_harm_there_is_nothing_to_recover() -> None:
    harmless = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 0.5], [0.0, 2.0]], dtype=torch.double)
    found = surviving_answers(harmless, ["a"])["from"]["a"]
    assert all(math.isnan(found[key]) for key in ("accuracy_share", "loss_recovered", "loss_recovered_from_mean"))


@pytest.mark.parametrize("names", [("n02123045", "n01440764"), ("Tabby", "tench"), ("tabby_cat", "Tinca tinca")])
def test_labels_are_a_classifiers_by_wordnets_ids_or_names(names) -> None:
    found = classifier_classes(ImageClasses(names, (1, 0, -1)), 1000)
    assert found is not None
    assert found.tolist() == [0, 281, -1]


@pytest.mark.parametrize(
    ("names", "count"), [(("tabby", "my uncle"), 1000), (("tabby", "tench"), 5), (("tabby", "crane"), 1000)]
)
def test_classes_that_a_classifier_has_not_are_no_labels(names, count) -> None:
    assert classifier_classes(ImageClasses(names, (0, 1)), count) is None


@pytest.fixture
def seen(edited, pictures) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return {name: backbone(pictures, edited.grid) for name, backbone in edited.backbones.items()}


def test_by_its_own_answer_all_of_the_clean_ones_are_right(edited, pictures, seen) -> None:
    answers = Answers(edited)
    answers.add(torch.tensor([0, 1]), pictures, seen)
    found = answers.figures()
    assert found["refused"] == {}
    own = found["backbones"]["conv"]
    assert (own["by"], own["images"], own["clean"]["accuracy"]) == ("own answer", 2, 1)
    assert list(own["from"]) == edited.names


def test_pictures_apart_and_merged_come_to_the_same(edited, pictures, seen) -> None:
    whole, one, other = Answers(edited), Answers(edited), Answers(edited)
    whole.add(torch.tensor([0, 1]), pictures, seen)
    one.add(torch.tensor([0]), pictures[:1], {name: own[:1] for name, own in seen.items()})
    other.add(torch.tensor([1]), pictures[1:], {name: own[1:] for name, own in seen.items()})
    one.merge(other.state_dict())
    for name in edited.names:
        torch.testing.assert_close(one.sums[name], whole.sums[name], atol=1e-5, rtol=1e-5)
        assert one.counts[name] == 2


def test_by_labels_pictures_of_no_class_are_left_out(edited, pictures, seen, monkeypatch) -> None:
    monkeypatch.setattr(
        "usae_train.evaluation.answers.classifier_classes", lambda classes, count: torch.tensor([3, -1])
    )
    answers = Answers(edited, ImageClasses(("a", "b"), (0, -1)))
    answers.add(torch.tensor([0, 1]), pictures, seen)
    own = answers.figures()["backbones"]["conv"]
    with torch.no_grad():
        logits = edited.backbones["conv"].logits(pictures[:1])[0].double()
    assert (own["by"], own["images"]) == ("labels", 1)
    assert own["clean"]["accuracy"] == float(logits.argmax() == 3)
    assert own["clean"]["cross_entropy"] == pytest.approx(-logits.log_softmax(0)[3].item(), abs=1e-5)


def test_asked_of_backbones_without_classifiers_it_is_one_line() -> None:
    from edited_networks import space, vit

    plain = space({"plain": vit().model_copy(update={"classes": 0})})
    with pytest.raises(ValueError, match="no backbone of this USAE has a classifier"):
        check_answers(plain, plain.backbones)
