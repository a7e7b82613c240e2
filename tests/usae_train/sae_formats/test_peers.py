"""Autoencoders that the libraries themselves make, save and load (extra `bench`): they and ours compute the same."""

from importlib import import_module

import pytest
import torch
from peer_autoencoders import MAKERS, READ_AGAIN, tokens

import usae_train as ut
from usae_train.sae_formats.formats import read_sae

HOMES = {"saelens": "sae_lens"}
MADE = [(format, kind) for format, makers in MAKERS.items() for kind in makers]


def needs(format):
    """Skip where a library is not there."""
    try:
        import_module(HOMES.get(format, format))
    except (ImportError, AttributeError) as error:  # overcomplete 0.3.0 does not import with matplotlib 3.9 and later
        pytest.skip(f"{format} cannot be imported: {error}")


def close(one, other):
    return torch.allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("format", "kind"), MADE, ids=[f"{format}: {kind}" for format, kind in MADE])
def test_there_and_back(tmp_path, format, kind):
    needs(format)
    (tmp_path / "made").mkdir()
    peer = MAKERS[format][kind](tmp_path / "made")
    assert read_sae(peer.place, **peer.options).format == format
    usae = ut.import_sae(peer.place, **peer.options)
    with torch.no_grad():
        codes = peer.encode(tokens())
        found = usae.encode("sae", tokens())
        assert close(found.dense(codes.shape[1]), codes)
        assert close(usae.decode("sae", found), peer.decode(codes))
        if format in READ_AGAIN:
            ut.export_sae(usae, "sae", tmp_path / "out", format)
            encode, decode = READ_AGAIN[format](tmp_path / "out")
            assert close(encode(tokens()), codes)
            assert close(decode(codes), peer.decode(codes))


@pytest.mark.parametrize("recipe", ["default", "published"])
@pytest.mark.parametrize("format", READ_AGAIN)
def test_a_backbone_of_ours_is_read_by_the_library(tmp_path, format, recipe):
    needs(format)
    usae = ut.fit({"a": tokens(), "b": tokens()[:, :3]}, n_concepts=16, k=3, steps=5, batch=64, recipe=recipe)
    ut.export_sae(usae, "a", tmp_path / "out", format)
    encode, decode = READ_AGAIN[format](tmp_path / "out")
    codes = usae.encode("a", tokens())
    with torch.no_grad():
        assert close(encode(tokens()), codes.dense(16))
        assert close(decode(codes.dense(16)), usae.decode("a", codes))
