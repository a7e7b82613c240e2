"""No file that a user names is read where it is a pipe, which may have no end: each is refused in one line."""

import os
from pathlib import Path
from threading import Thread

import pytest

from usae_train.backbones.unlisted_models import _read as read_of_hub
from usae_train.files.json_files import read_json
from usae_train.files.tensor_files import load_file
from usae_train.files.torch_state import read_torch_file
from usae_train.files.yaml_config import read_mapping
from usae_train.model.published import _read_checkpoint
from usae_train.sae_formats.format import UserAnswers
from usae_train.sae_formats.formats import formats, read_sae
from usae_train.sae_formats.saev import Saev
from usae_viz.export.png import read_png
from usae_viz.rating.scoring import StudyKey, read_answers

READERS = {
    "json": read_json,
    "yaml": read_mapping,
    "safetensors": load_file,
    "torch": lambda file: read_torch_file(file, str(file)),
    "config of the hub": lambda file: read_of_hub("it", file),
    "published": lambda file: _read_checkpoint(file, "left"),
    "saev": lambda file: Saev().read(file, UserAnswers()),
    "prisma": lambda file: formats()["prisma"].read(file, UserAnswers()),
    "any autoencoder": read_sae,
    "png": read_png,
    "answers": lambda file: read_answers(file, StudyKey(study="a", trials=[], choices=4)),
}


@pytest.fixture
def pipe(tmp_path):
    """A pipe into which nothing is ever written; who opens it reads its end at once, so that no test hangs."""
    place = tmp_path / "pipe.pt"
    os.mkfifo(place)
    writer = Thread(target=lambda: os.close(os.open(place, os.O_WRONLY)), daemon=True)
    writer.start()
    yield place
    os.close(os.open(place, os.O_RDONLY | os.O_NONBLOCK))
    writer.join(5)


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_not_read(pipe: Path, reader: str) -> None:
    with pytest.raises(ValueError, match="it is a pipe; expected a file") as said:
        READERS[reader](pipe)
    assert type(said.value).__name__ == "UsageError"
