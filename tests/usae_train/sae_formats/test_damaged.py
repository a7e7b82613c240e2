"""Every file of a foreign autoencoder, damaged: it is read, or refused in one line; nothing else, and soon."""

from functools import partial
from pathlib import Path

import pytest
from damage import Kind, wrong_with
from mutations import mutated_bytes, mutated_json, mutated_safetensors, mutated_state, on_file
from sae_files import FILES, TOKENS, Written, prisma_object

import usae_train as ut

TIMES = 6  # each file; with 300 nothing else was found
MUTATIONS = {".json": on_file(mutated_json), ".safetensors": mutated_safetensors, ".pt": mutated_state}
NO_STATES = (*FILES["saev"], prisma_object)  # torch alone does not read them
MAKERS = [maker for makers in FILES.values() for maker in makers]


def use(written: Written, format: str) -> None:
    """What a command asks of one first."""
    usae = ut.import_sae(written.place, format=format, **written.options)
    usae.decode("sae", usae.encode("sae", TOKENS))


@pytest.mark.parametrize(
    ("format", "maker"), [(format, maker) for format, makers in FILES.items() for maker in makers],
    ids=[maker.__name__ for maker in MAKERS],
)  # fmt: skip
def test_what_is_damaged_is_read_or_refused_in_one_line(tmp_path: Path, format: str, maker) -> None:
    folder = tmp_path / "room" / "autoencoder"
    folder.mkdir(parents=True)
    written = maker(folder)
    for file in sorted(folder.iterdir()):
        mutate = on_file(mutated_bytes) if maker in NO_STATES else MUTATIONS[file.suffix]
        kind = Kind(file.name, folder, file, mutate, partial(use, written, format))
        found = {seed: wrong_with(kind, seed, seconds=5) for seed in range(TIMES)}
        assert {seed: why for seed, why in found.items() if why is not None} == {}
