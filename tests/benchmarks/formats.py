"""Autoencoders of other libraries: made and saved by them, read here, codes and decoded tokens compared, written back.

    python tests/benchmarks/formats.py

takes the extra `bench`; a library that is not installed is named. Prisma's, and saev's since schema 2, are in no
release: with their repositories on PYTHONPATH they are compared too. The status is 1 when a released one was not
compared, or a code or number of a decoded token differs by more than 1e-5 and a hundred-thousandth of the largest
(.ci/peers).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from peer_autoencoders import MAKERS, READ_AGAIN, UNRELEASED, Maker, Peer, tokens

import usae_train as ut
from usae_train.runtime.printing import plural
from usae_train.sae_formats.formats import read_sae
from usae_train.sae_formats.sae import as_usae

NOT_COMPARED = "not compared:"
TOLERANCE = 1e-5  # of codes and decoded tokens: absolute, and relative to the largest


def main() -> None:
    """Print a row an autoencoder: the largest differences."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(f"{'format':20s}{'autoencoder':32s}{'encode':>10s}{'decode':>10s}   written as")
    wrong = 0
    for group in (MAKERS, UNRELEASED):
        for library, makers in group.items():
            for kind, make in makers.items():
                with tempfile.TemporaryDirectory() as room:
                    text, equal = row(library, make, Path(room))
                wrong += not equal and (group is MAKERS or not text.startswith(NOT_COMPARED))
                print(f"{library:20s}{kind:32s}{text}")
    if wrong:
        sys.exit(f"{plural(wrong, 'autoencoder')} not equal or not compared")


def row(library: str, make: Maker, room: Path) -> tuple[str, bool]:
    """Differences of codes and decoded tokens, of what is read and of what is written back; whether they are small."""
    folder = room / "made"
    folder.mkdir()
    try:
        peer = make(folder)
    except (ImportError, AttributeError) as error:
        return f"{NOT_COMPARED} {error}", False
    with torch.no_grad():
        return compared(library, peer, room)


def compared(library: str, peer: Peer, room: Path) -> tuple[str, bool]:
    """The same of what a library saved."""
    batch = tokens()
    codes = peer.encode(batch)
    decoded = peer.decode(codes)
    sae = read_sae(peer.place, **peer.options)
    assert sae.format == library
    usae = as_usae(sae)
    encoded = usae.encode("sae", batch)
    pairs = [(encoded.dense(sae.n_concepts), codes), (usae.decode("sae", encoded), decoded)]
    differences = "".join(f"{difference(*pair):10.1e}" for pair in pairs)
    again = written(usae, room)
    pairs += [pair for read in again.values() for pair in zip(read, (codes, decoded), strict=True)]
    back = ", ".join(
        f"{format} {max(difference(read[0], codes), difference(read[1], decoded)):.1e}"
        for format, read in again.items()
    )
    return f"{differences}   {back or '-'}", all(difference(one, other) <= allowed(other) for one, other in pairs)


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference of two tensors."""
    return float((one - other).abs().max())


def allowed(expected: torch.Tensor) -> float:
    """What a tensor may differ from this one by."""
    return TOLERANCE * (1 + float(expected.abs().max()))


def written(usae: ut.USAE, room: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """{format that it could be written as: codes and decoded tokens, after its library read it again}."""
    again = {}
    for format, read in READ_AGAIN.items():
        try:
            ut.export_sae(usae, "sae", room / format, format)
            encode, decode = read(room / format)
        except (ValueError, ImportError):
            continue
        codes = encode(tokens())
        again[format] = codes, decode(codes)
    return again


if __name__ == "__main__":
    main()
