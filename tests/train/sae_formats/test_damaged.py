"""Every file of a foreign autoencoder, damaged: it is read, or refused in one line; nothing else, and soon."""

import json
from functools import partial
from pathlib import Path

import pytest
from damage import Kind, wrong_with
from mutations import mutated_bytes, mutated_json, mutated_safetensors, mutated_state, on_file
from sae_files import FILES, TOKENS, Written, dictionary_relu, prisma, prisma_object, saev, saev_schema

import usae_train as ut
from usae_train.sae_formats.formats import read_sae

TIMES = 6  # each file; with 300 nothing else was found
MUTATIONS = {".json": on_file(mutated_json), ".safetensors": mutated_safetensors, ".pt": mutated_state}
NO_STATES = (*FILES["saev"], prisma_object)  # torch alone does not read them
MAKERS = [maker for makers in FILES.values() for maker in makers]


def use(written: Written, format: str) -> None:
    """What a command asks of one first."""
    usae = ut.import_sae(written.place, format=format, **written.options)
    usae.decode("sae", usae.encode("sae", TOKENS))


@pytest.mark.parametrize(
    ("format", "maker"),
    [(format, maker) for format, makers in FILES.items() for maker in makers],
    ids=[maker.__name__ for maker in MAKERS],
)
def test_what_is_damaged_is_read_or_refused_in_one_line(tmp_path: Path, format: str, maker) -> None:
    folder = tmp_path / "room" / "autoencoder"
    folder.mkdir(parents=True)
    written = maker(folder)
    for file in sorted(folder.iterdir()):
        mutate = on_file(mutated_bytes) if maker in NO_STATES else MUTATIONS[file.suffix]
        kind = Kind(file.name, folder, file, mutate, partial(use, written, format))
        found = {seed: wrong_with(kind, seed, seconds=5) for seed in range(TIMES)}
        assert {seed: why for seed, why in found.items() if why is not None} == {}


def other_size(room: Path, format: str, key: str) -> Path:
    """An autoencoder whose config says 77 for a size that its tensors have otherwise."""
    if format == "prisma":
        return prisma(room, **{key: 77}).place
    if format == "saev":
        schema = saev_schema("Relu")
        header = {key: 77} if key == "d_vit" else {**schema, "cfg": {**schema["cfg"], key: 77}}
        return saev(room, header, lambda tokens: tokens).place
    written = dictionary_relu(room)
    trainer = {"dict_class": "AutoEncoder", key: 77}
    (room / "config.json").write_text(json.dumps({"trainer": trainer}))
    return written.place


@pytest.mark.parametrize(
    ("format", "key"),
    [
        ("prisma", "d_in"),
        ("prisma", "d_sae"),
        ("saev", "d_vit"),
        ("saev", "d_model"),
        ("saev", "d_sae"),
        ("dictionary_learning", "activation_dim"),
        ("dictionary_learning", "dict_size"),
    ],
)
def test_a_config_of_other_sizes_than_its_tensors_is_refused(tmp_path: Path, format: str, key: str) -> None:
    place = other_size(tmp_path, format, key)
    with pytest.raises(ValueError, match=rf"its config says {key} 77, and its tensors have \d+$"):
        read_sae(place, format)
