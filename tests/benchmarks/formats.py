"""Autoencoders of other libraries: made and saved by them, read here, codes and decoded tokens compared, written back.

    python tests/benchmarks/formats.py

takes the extra `bench`; a library that is not installed is named. Prisma's, and saev's since schema 2, are in no
release: with their repositories on PYTHONPATH they are compared too.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from peer_autoencoders import MAKERS, READ_AGAIN, UNRELEASED, Maker, Peer, tokens

import usae_train as ut
from usae_train.sae_formats.formats import read_sae
from usae_train.sae_formats.sae import as_usae


def main() -> None:
    """Print a row an autoencoder: the largest differences."""
    print(f"{'format':20s}{'autoencoder':32s}{'encode':>10s}{'decode':>10s}   written as")
    for group in (MAKERS, UNRELEASED):
        for library, makers in group.items():
            for kind, make in makers.items():
                with tempfile.TemporaryDirectory() as room:
                    print(f"{library:20s}{kind:32s}{row(library, make, Path(room))}")


def row(library: str, make: Maker, room: Path) -> str:
    """Differences of codes and decoded tokens, of what is read and of what is written back."""
    folder = room / "made"
    folder.mkdir()
    try:
        peer = make(folder)
    except (ImportError, AttributeError) as error:
        return f"not compared: {error}"
    with torch.no_grad():
        return compared(library, peer, room)


def compared(library: str, peer: Peer, room: Path) -> str:
    """The same of what a library saved."""
    given = tokens()
    codes = peer.encode(given)
    sae = read_sae(peer.place, **peer.options)
    assert sae.format == library
    usae = as_usae(sae)
    found = usae.encode("sae", given)
    differences = [found.dense(sae.n_concepts) - codes, usae.decode("sae", found) - peer.decode(codes)]
    told = "".join(f"{float(own.abs().max()):10.1e}" for own in differences)
    return f"{told}   {', '.join(written(usae, codes, peer.decode(codes), room)) or '-'}"


def written(usae: ut.USAE, codes: torch.Tensor, decoded: torch.Tensor, room: Path) -> list[str]:
    """The formats that it could be written as, with the largest difference after their libraries read it again."""
    told = []
    for format, read in READ_AGAIN.items():
        try:
            ut.export_sae(usae, "sae", room / format, format)
            encode, decode = read(room / format)
        except (ValueError, ImportError):
            continue
        again = encode(tokens())
        worst = max(float((again - codes).abs().max()), float((decode(again) - decoded).abs().max()))
        told.append(f"{format} {worst:.1e}")
    return told


if __name__ == "__main__":
    main()
