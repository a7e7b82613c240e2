"""Which concepts stand for a class: planted ones are found, and nothing else is."""

import pytest
import torch

from usae_train.evaluation.class_concepts import (
    _pairwise,
    check_counts,
    class_concepts,
    halves,
)
from usae_train.evaluation.naming import label_name
from usae_train.images.classes import ImageClasses
from usae_train.model.statistics import auroc

EACH, CLASSES = 20, 5
OF = torch.arange(CLASSES).repeat_interleave(EACH)
NAMED = ImageClasses(tuple("abcde"), tuple(OF.tolist()))


def planted() -> torch.Tensor:
    """(pictures, 2 backbones, 8 concepts): noise, but for what the tests name."""
    generator = torch.Generator().manual_seed(1)
    peaks = torch.rand(len(OF), 2, 8, generator=generator)
    peaks[OF == 1, :, 0] += 2  # stands for b
    peaks[(OF == 2) | (OF == 3), :, 1] += 2  # c and d share it
    peaks[OF == 4, 0, 2] += 2  # stands for e in one backbone, and is noise in the other
    peaks[OF == 0, 0, 3] += 2  # stands for a in one, and is dead in the other
    peaks[:, 1, 3] = 0
    peaks[OF == 1, :, 4] += 2  # more for c than for b, and less for the others
    peaks[OF == 2, :, 4] += 2.3
    peaks[:, :, 5] = 0  # fires nowhere
    return peaks


def test_what_stands_for_a_class_is_found_and_nothing_else() -> None:
    found = class_concepts(planted(), torch.arange(len(OF)), NAMED)
    assert {each.concept: each.classes for each in found.named} == {0: (1,), 3: (0,)}
    assert {each.concept: each.classes for each in found.shared} == {1: (2, 3), 4: (1, 2)}
    assert found.by_chance == 0
    assert [each.strongest for each in found.named] == [(EACH, EACH)] * 2
    assert found.areas.shape == (2, CLASSES, 8)


def test_what_holds_in_one_half_alone_is_no_name() -> None:
    peaks, generator = planted(), torch.Generator().manual_seed(0)
    first = halves(OF, generator)
    peaks[:, :, 0] = torch.rand(len(OF), 2, generator=torch.Generator().manual_seed(2))
    peaks[(OF == 1) & first, :, 0] += 2
    found = class_concepts(peaks, torch.arange(len(OF)), NAMED, seed=0)
    assert 0 not in {each.concept for each in found.standing}


def test_what_another_class_shares_in_one_half_is_no_name() -> None:
    peaks, first = planted(), halves(OF, torch.Generator().manual_seed(0))
    peaks[:, :, 0] = torch.rand(len(OF), 2, generator=torch.Generator().manual_seed(2))
    peaks[OF == 1, :, 0] += 2
    peaks[(OF == 2) & ~first, :, 0] += 2
    found = class_concepts(peaks, torch.arange(len(OF)), NAMED, seed=0)
    assert 0 not in {each.concept for each in found.standing}


def test_pictures_of_no_class_and_classes_of_few_are_left_out() -> None:
    numbers = [*OF.tolist()]
    numbers[:EACH] = [-1] * EACH  # those of a
    numbers[-EACH:] = [0] * 3 + [-1] * (EACH - 3)  # of e three are left, and they are called a
    found = class_concepts(planted(), torch.arange(len(OF)), ImageClasses(NAMED.names, tuple(numbers)))
    assert {each.concept: each.classes for each in found.named}[0] == (1,)
    assert all(set(each.classes) <= {1, 2, 3} for each in found.standing)


def test_pairs_of_classes_are_compared_as_areas_under_curves() -> None:
    generator = torch.Generator().manual_seed(3)
    codes = torch.randint(4, (len(OF),), generator=generator).float()  # with ties
    table = _pairwise(codes, OF, [2, 0])
    for row, one in enumerate((OF == 2, OF == 0, OF % 2 == 1)):
        for column, other in enumerate((OF == 2, OF == 0, OF > 0)):
            if row < 2 and column < 2 and row != column:
                both = one | other
                assert table[row, column].item() == pytest.approx(auroc(codes[both, None], one[both, None]).item())
    rest = (OF != 2) & (OF != 0)
    assert table[0, 2].item() == pytest.approx(auroc(codes[OF != 0, None], (OF == 2)[OF != 0, None]).item())
    assert rest.sum() == 3 * EACH


def test_each_class_has_a_half_of_its_pictures_in_each_and_other_seeds_other_ones() -> None:
    one, other = (halves(OF, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert [int(one[number == OF].sum()) for number in range(CLASSES)] == [EACH // 2] * CLASSES
    assert not torch.equal(one, other)


@pytest.mark.parametrize("silent", [False, True])
def test_where_nothing_can_stand_for_a_class_there_is_no_error(silent) -> None:
    """Classes of too few pictures each, or a backbone in which nothing fires."""
    few = torch.arange(CLASSES) * EACH
    peaks, numbers = (
        (planted() * torch.tensor([1.0, 0.0])[:, None], torch.arange(len(OF)))
        if silent
        else (
            planted()[few],
            few,
        )
    )
    found = class_concepts(peaks, numbers, NAMED)
    assert [each.classes for each in found.named] == ([(1,), (4,), (0,)] if silent else [])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_class_of_few_pictures_is_one_line(count) -> None:
    with pytest.raises(ValueError, match=f"class 'b' has {count} picture"):
        check_counts(NAMED, [20, count, 20, 20, 20])


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("tabby, tabby cat", "tabby"),
        ("great_white_shark", "great white shark"),
        ("7", "class 7"),
        ("all", "class all"),
        ("3-4", "class 3-4"),
        ("Top:8", "class Top:8"),
        ("what?", "what"),
        ("**", "class"),
    ],
)
def test_a_label_is_what_a_labels_file_can_have(name, label) -> None:
    assert label_name(name) == label
