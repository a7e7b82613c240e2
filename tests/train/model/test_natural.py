import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import usae_train as ut
from usae_train.backbones.backbone import BackboneSpec
from usae_train.images.sources import open_images
from usae_train.model import natural
from usae_train.model.natural import find_strongest, natural_pictures
from usae_train.runtime.warning_kinds import FormerNameWarning


@pytest.fixture
def usae(picture_folder: Path, tiny_specs: dict[str, BackboneSpec]) -> ut.USAE:
    return ut.fit(picture_folder, backbones=tiny_specs, n_concepts=8, k=2, steps=3, batch=16)


def test_pictures_that_are_looked_through_give_what_fit_measures(usae, picture_folder):
    """The same pictures elsewhere, as if they were others: encoded anew, they have the same strongest places."""
    source = open_images(picture_folder)
    own, why = natural_pictures(usae)
    assert why == ""
    stranger = copy.copy(usae)
    stranger.measured_on = replace(usae.measured_on, fingerprint="another")
    seen: list[int] = []
    found = find_strongest(stranger, source, lambda done, total: seen.append(done))
    assert seen == [6]
    for row in range(2):
        for concept in range(8):
            assert [n for n, _ in found.strongest(row, concept)][:1] == [n for n, _ in own.strongest(row, concept)][:1]
    assert torch.allclose(found.largest, own.largest, rtol=0.02, atol=0.01)  # fit measured tokens in bfloat16


def test_the_statistics_own_pictures_are_not_encoded_again(usae, picture_folder, monkeypatch):
    monkeypatch.setattr("usae_train.tokens.paired.stream_tokens", None)
    found = find_strongest(usae, open_images(picture_folder))
    assert torch.equal(found.images, usae.statistics.top_images)


def test_a_readers_pictures_go_before_the_statistics(usae, picture_folder):
    assert natural_pictures(usae)[0].source.name == str(picture_folder)
    usae.measured_on = replace(usae.measured_on, name=None)
    assert "are not shipped with it; --images takes your own" in natural_pictures(usae)[1]
    usae.measured_on = replace(usae.measured_on, name=str(picture_folder), fingerprint="another")
    assert "have changed since" in natural_pictures(usae)[1]
    usae.natural = find_strongest(usae, open_images(picture_folder, limit=2))
    assert natural_pictures(usae) == (usae.natural, "")
    assert usae.natural.images.max() == 1


def test_pictures_none_of_which_can_be_read_are_one_line(usae, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"none of the 1 picture of .*broken can be read; the first: a\.png"):
        find_strongest(usae, open_images(tmp_path / "broken"))


def test_a_usae_of_bare_tokens_says_that_it_cannot_see(picture_folder):
    usae = ut.fit({"a": torch.randn(64, 5)}, n_concepts=8, k=2, steps=1, batch=16)
    with pytest.raises(ValueError, match="fitted on bare activations"):
        find_strongest(usae, open_images(picture_folder))
    assert "bare activations" in natural_pictures(usae)[1]
    assert natural.natural_pictures(usae)[0] is None


def test_other_pictures_of_equal_names_and_sizes_are_not_shown_as_those_of_the_statistics(usae, picture_folder):
    file = picture_folder / "3.png"
    content = file.read_bytes()
    file.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
    assert "have changed since" in natural_pictures(usae)[1]
    of_names_and_sizes = usae.measured_on.fingerprint.partition("+")[0]  # of an earlier version
    usae.measured_on = replace(usae.measured_on, fingerprint=of_names_and_sizes)
    assert natural_pictures(usae)[1] == ""
    (picture_folder / "3.png").rename(picture_folder / "33.png")
    assert "have changed since" in natural_pictures(usae)[1]


def test_the_former_name_still_works():
    with pytest.warns(FormerNameWarning, match="look_through is called find_strongest now"):
        former = natural.look_through
    assert former is find_strongest
    with pytest.raises(AttributeError, match="has no attribute 'look_trough'"):
        natural.look_trough  # noqa: B018
