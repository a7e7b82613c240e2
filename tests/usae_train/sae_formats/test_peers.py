"""Autoencoders that the libraries themselves make, save and load (extra `bench`): they and ours compute the same."""

from importlib import import_module

import pytest
import torch
from peer_autoencoders import MAKERS, READ_AGAIN, tokens

import usae_train as ut
from usae_train.sae_formats.formats import read_sae

HOMES = {"saelens": "sae_lens"}
MADE = [(format, kind) for format, makers in MAKERS.items() for kind in makers]


def close(one, other):
    return torch.allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("format", "kind"), MADE, ids=[f"{format}: {kind}" for format, kind in MADE])
def test_there_and_back(tmp_path, format, kind):
    try:
        import_module(HOMES.get(format, format))
    except (ImportError, AttributeError) as error:  # overcomplete 0.3.0 does not import with matplotlib 3.9 and later
        pytest.skip(f"{format} cannot be imported: {error}")
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
