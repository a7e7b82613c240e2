"""A pack that the memory of a GPU is too small for is drawn in halves; the allocator's error is made up."""

import warnings
from dataclasses import replace

import pytest
import torch

import usae_viz as uv
from usae_viz.optimization.drawing import draw_together
from usae_viz.optimization.maximize import _prepared, maximize_each

SETTINGS = {"steps": 2, "views": 1, "size": 32, "augmentation": "none", "dtype": "float32"}


@pytest.fixture(autouse=True)
def _packed(monkeypatch):
    """As on a GPU, eight objectives are drawn at once."""

    def together(*given):
        objectives, view_config, *others = _prepared(*given)
        return objectives, replace(view_config, batch_size=8), *others

    monkeypatch.setattr("usae_viz.optimization.maximize._prepared", together)


def small(objectives, packs):
    """A GPU on which so many objectives fit; notes how many it was asked for."""

    def draw(batch):
        packs.append(len({id(spec.objective) for spec in batch.specs}))
        if packs[-1] > objectives or batch.view_config.batch_size > 2 * packs[-1]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return draw_together(batch)

    return draw


def test_a_pack_that_does_not_fit_is_drawn_in_halves_and_that_is_said_once(usae):
    objectives, packs = [uv.Concept(number) for number in range(11)], []
    settings = uv.MaximizeSettings(mode="shared", **SETTINGS)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = list(maximize_each(usae, objectives, settings, draw=small(2, packs)))
    assert packs == [8, 4, 2, 2, 2, 2, 2, 1]
    assert [result.objective for result in found] == objectives
    told = [str(each.message) for each in said]
    assert told == [
        "8 objectives at once do not fit into the GPU's memory: fewer are drawn from now on; what is finished is kept; "
        "a lower --memory (GB) begins with fewer"
    ]


def test_one_that_does_not_fit_alone_is_the_error_that_it_was(usae):
    with pytest.raises(torch.OutOfMemoryError), pytest.warns(UserWarning, match="8 objectives at once do not fit"):
        list(maximize_each(usae, [uv.Concept(3)], uv.MaximizeSettings(**SETTINGS), draw=small(0, [])))


@pytest.mark.parametrize(
    ("said", "packs"),
    [
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", [8, 4, 4]),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", [8, 4, 4]),
        ("CUDA error: device-side assert triggered", [8]),
    ],
)
def test_what_a_gpus_libraries_say_of_its_memory_is_heard_as_well(usae, said, packs):
    drawn: list[int] = []

    def short_of_memory(batch):
        drawn.append(len(batch.specs))
        if len(batch.specs) > 4:
            raise RuntimeError(said)
        return draw_together(batch)

    settings, objectives = uv.MaximizeSettings(mode="shared", **SETTINGS), [uv.Concept(k) for k in range(8)]
    if packs == [8]:
        with pytest.raises(RuntimeError, match="device-side"):
            list(maximize_each(usae, objectives, settings, draw=short_of_memory))
    else:
        with pytest.warns(UserWarning, match="8 objectives at once do not fit"):
            assert len(list(maximize_each(usae, objectives, settings, draw=short_of_memory))) == 8
    assert drawn == packs


def test_what_is_finished_is_handed_on_before_more_is_begun_and_kept_when_that_fails(usae):
    packs, found = [], []

    def full_after_four(batch):
        packs.append(len(batch.specs))
        if packs[-1] > 4 or packs.count(4) > 1 or len(packs) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return draw_together(batch)

    def draw_all():
        settings = uv.MaximizeSettings(mode="shared", **SETTINGS)
        for result in maximize_each(usae, [uv.Concept(k) for k in range(8)], settings, draw=full_after_four):
            found.append((result.objective.concepts[0], list(packs)))

    with pytest.raises(torch.OutOfMemoryError), pytest.warns(UserWarning, match="what is finished is kept"):
        draw_all()
    assert found == [(k, [8, 4]) for k in range(4)]
    assert packs == [8, 4, 4, 2, 1]


def test_a_score_that_is_lost_in_the_second_half_ends_its_own_objective_alone(usae):
    @uv.objective
    def broken(acts):
        return uv.Concept(1)(acts) * torch.nan

    settings = uv.MaximizeSettings(mode="shared", **SETTINGS)
    drawn = []

    def draw_all():
        for result in maximize_each(usae, [uv.Concept(1), uv.Concept(2), broken], settings, draw=small(1, [])):
            drawn.append(result.objective)

    with pytest.warns(UserWarning, match="do not fit"), pytest.raises(ValueError, match="check the objective broken"):
        draw_all()
    assert len(drawn) == 2


def test_one_that_is_asked_for_twice_is_drawn_twice_and_none_beside_it_is_lost(usae):
    one, other = uv.Concept(3), uv.Concept(5)
    found = maximize_each(usae, [one, one, other], uv.MaximizeSettings(mode="shared", **SETTINGS))
    assert [result.objective for result in found] == [one, one, other]
