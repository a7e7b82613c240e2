"""The hub's conventions, against a local folder and against the hub client's own offline mode."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import usae_train as ut
from usae_train.backbones.backbone import Backbone, BackboneSpec

TINY = {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}


@pytest.fixture(scope="module")
def usae(tmp_path_factory) -> ut.USAE:
    """A USAE with a backbone whose weights are a local .pth file."""
    spec = BackboneSpec(model="vit_tiny_patch16_224", weights="random", input_size=16, options=TINY)
    file = tmp_path_factory.mktemp("weights") / "left.pth"
    torch.save(Backbone("left", spec).model.state_dict(), file)
    spec = spec.model_copy(update={"weights": str(file)})
    made = ut.USAE({"left": 16}, 6, 2, specs={"left": spec}, grid=(2, 2))
    return made.eval()


def test_save_pretrained_and_from_pretrained_are_save_and_load(usae, tmp_path):
    usae.save_pretrained(tmp_path / "usae")
    loaded = ut.USAE.from_pretrained(tmp_path / "usae")
    canvas = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.tokens("left", canvas), usae.tokens("left", canvas))


def test_a_folder_holds_no_pickle_even_when_the_weights_were_one(usae, tmp_path):
    ut.save(usae, tmp_path / "usae")
    files = {str(f.relative_to(tmp_path / "usae")) for f in (tmp_path / "usae").rglob("*") if f.is_file()}
    assert files == {"README.md", "config.json", "model.safetensors", "backbones/left.safetensors"}
    assert load_file(tmp_path / "usae" / "backbones" / "left.safetensors")


def test_a_repository_in_the_clients_cache_loads_offline(usae, tmp_path):
    snapshot = tmp_path / "hub" / "models--someone--universe" / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("0" * 40)
    ut.save(usae, tmp_path / "usae")
    shutil.copytree(tmp_path / "usae", snapshot)
    said = (
        "import usae_train as ut\n"
        "usae = ut.USAE.from_pretrained('someone/universe')\n"
        "print(usae.widths, usae.backbones['left'].grid)\n"
        "try:\n    usae.push_to_hub('someone/universe')\n"
        "except ValueError as error:\n    print(error)\n"
    )
    environment = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "hub"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", said], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    loaded, refused = done.stdout.splitlines()
    assert loaded == "{'left': 16} (2, 2)"
    assert refused.startswith("someone/universe could not be uploaded: ")


def test_push_to_hub_uploads_the_folder(usae, monkeypatch):
    sent = {}

    class Api:
        def __init__(self, token):
            sent["token"] = token

        def create_repo(self, repository, private, exist_ok):
            sent.update(repository=repository, private=private, exist_ok=exist_ok)

        def upload_folder(self, repo_id, folder_path, commit_message):
            sent["message"] = commit_message
            sent["files"] = sorted(p.name for p in Path(folder_path).rglob("*") if p.is_file())
            return f"https://hub/{repo_id}/commit/1"

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    assert usae.push_to_hub("someone/universe", private=True, token="t") == "https://hub/someone/universe/commit/1"
    assert sent["files"] == ["README.md", "config.json", "left.safetensors", "model.safetensors"]
    assert (sent["repository"], sent["private"], sent["exist_ok"]) == ("someone/universe", True, True)
