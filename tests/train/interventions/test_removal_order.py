import pytest
import torch

from usae_train.interventions.importance import class_view, without_each
from usae_train.interventions.removal_order import removal_order


@pytest.mark.parametrize("name", ["vit", "conv"])
def test_each_is_the_one_that_costs_most_without_those_before_it(edited, pictures, name):
    """All sixteen concepts are tried; up to the third each is judged anew."""
    canvas, seen = pictures[:1], class_view(edited, name, pictures[:1])
    order = removal_order(edited, name, canvas, seen, range(16), 3)
    for at, taken in enumerate(order):
        others = [k for k in range(16) if k not in order[:at]]
        logits = without_each(edited, name, canvas, [[*order[:at], k] for k in others])[1:, seen.class_]
        assert taken == others[int(logits.argmin())]


def test_no_more_are_taken_than_there_are(edited, pictures):
    seen = class_view(edited, "vit", pictures[:1])
    order = removal_order(edited, "vit", pictures[:1], seen, [1, 2, 3, 4, 5, 6, 7], 50)
    assert sorted(order) == [1, 2, 3, 4, 5, 6, 7]
    assert removal_order(edited, "vit", pictures[:1], seen, [], 5) == []
    assert torch.equal(class_view(edited, "vit", pictures[:1]).logits, seen.logits)
