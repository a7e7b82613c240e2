"""Files of other libraries' autoencoders, and recipes of edits: of the kinds that `kinds_of_files` lists."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

from damage import Kind
from mutations import mutated_bytes, mutated_json, mutated_safetensors, mutated_state, on_file
from ruamel.yaml import YAML
from sae_files import FILES, TOKENS, Written, prisma_object

import usae_train as ut
from usae_viz.explanations.edit_recipe import read_edit_recipe

MUTATIONS = {".json": on_file(mutated_json), ".safetensors": mutated_safetensors, ".pt": mutated_state}
NO_STATES = (*FILES["saev"], prisma_object)  # torch alone does not read them
EDITS_YAML = {
    "usae": "usae",
    "photographs": ["a.png", "b/a.png"],
    "edits": {"off": {"in": "left", "set": ["1=0", "seeds*2"]}, "more": {"in": "right", "set": ["2+1.5"]}},
    "among": "photographs",
    "labels": "labels.json",
    "top": 3,
}


def of_edits(room: Path, mutated_yaml: Callable[[Path, Random], None]) -> list[Kind]:
    """A recipe of edits."""
    folder = room / "edits"
    folder.mkdir()
    file = folder / "edits.yaml"
    with file.open("w") as opened:
        YAML(typ="safe", pure=True).dump(EDITS_YAML, opened)
    return [Kind("edits YAML", folder, file, mutated_yaml, lambda: list(read_edit_recipe(str(file)).places()))]


def of_autoencoders(room: Path) -> list[Kind]:
    """The first of each library's files; `tests/train/sae_formats` has them all."""
    made = []
    for format, (maker, *_) in FILES.items():
        folder = room / format
        folder.mkdir()
        written = maker(folder)
        for file in sorted(folder.iterdir()):
            mutate = on_file(mutated_bytes) if maker in NO_STATES else MUTATIONS[file.suffix]
            made.append(Kind(f"{format}, {file.name}", folder, file, mutate, partial(_use, written, format)))
    return made


def _use(written: Written, format: str) -> None:
    usae = ut.import_sae(written.place, format=format, **written.options)
    usae.decode("sae", usae.encode("sae", TOKENS))
