"""Weights, the authors' release, pictures and spectra: of the kinds of files that `kinds_of_files` lists."""

import json
import tarfile
from pathlib import Path
from random import Random

import torch
from damage import Kind
from mutations import mutated_bytes, mutated_json, mutated_safetensors, mutated_state, on_file
from PIL import Image
from ruamel.yaml import YAML

import usae_train as ut
from usae_train.backbones.weight_files import read_weights
from usae_train.images.sources import open_images, read_picture
from usae_train.images.spectrum import load_spectrum, save_spectrum
from usae_train.model.published import ATOMS as THEIR_ATOMS
from usae_train.model.published import LINEAR, NORM, import_published


def folder_of(room: Path, name: str) -> Path:
    """A new folder for a kind of file."""
    folder = room / name.replace(" ", "-")
    folder.mkdir(parents=True)
    return folder


def write_yaml(tree: object, file: Path) -> None:
    with file.open("w") as opened:
        YAML(typ="safe", pure=True).dump(tree, opened)


def mutated_yaml(file: Path, random: Random) -> None:
    """YAML is what JSON is, or what its bytes say."""
    if random.random() < 0.3:
        file.write_bytes(mutated_bytes(file.read_bytes(), random))
        return
    tree = YAML(typ="safe", pure=True).load(file.read_text())
    file.write_bytes(mutated_json(json.dumps(tree).encode(), random))


def of_weights(room: Path) -> list[Kind]:
    """Weights of others, and a spectrum."""
    tensors = {"blocks.0.weight": torch.randn(3, 4), "head.bias": torch.randn(3)}
    folder = folder_of(room, "weights")
    plain, pickled = folder / "weights.safetensors", folder / "weights.pth"
    ut.model.usae_folder.save_file(tensors, plain)
    torch.save({"state_dict": tensors}, pickled)
    made = [
        Kind("weights, safetensors", folder, plain, mutated_safetensors, lambda: read_weights("left", plain)),
        Kind("weights, pth", folder, pickled, mutated_state, lambda: read_weights("left", pickled)),
    ]
    folder = folder_of(room, "spectra")
    spectrum = folder / "spectrum.safetensors"
    save_spectrum(torch.rand(3, 16, 9), spectrum, open_images("demo", 3))
    made.append(Kind("spectrum", folder, spectrum, mutated_safetensors, lambda: load_spectrum(spectrum)))
    return [*made, *_of_release(room)]


def _of_release(room: Path) -> list[Kind]:
    made = []
    for name, mutate in (("release.yaml", mutated_yaml), ("theirs.pth", mutated_state)):
        folder = folder_of(room, f"release {name.partition('.')[0]}")
        model = {
            "checkpoint_path": "theirs.pth",
            "input_shape": 4,
            "num_tokens": 4,
            "model_mean": 0.1,
            "model_std": 2.0,
        }
        config = {
            "global": {"nb_components": 3, "standardize": True},
            "sae_params": {"top_k": 2},
            "model_zoo": {"Some": model},
        }
        write_yaml(config, folder / "release.yaml")
        of_norm = {f"{NORM}.{part}": torch.rand(3) for part in ("weight", "bias", "running_mean", "running_var")}
        weights = {
            f"{LINEAR}.weight": torch.randn(3, 4),
            f"{LINEAR}.bias": torch.randn(3),
            **of_norm,
            THEIR_ATOMS: torch.randn(3, 4),
        }
        torch.save({"model_state_dict": weights}, folder / "theirs.pth")
        made.append(
            Kind(
                f"published {name}",
                folder,
                folder / name,
                mutate,
                lambda folder=folder: import_published(folder / "release.yaml"),
            )
        )
    return made


def of_pictures(room: Path) -> list[Kind]:
    """Picture files, and a tar of some."""
    made = []
    noise = Image.effect_noise((24, 20), 50).convert("RGB")
    for ending in ("png", "jpg", "gif", "bmp", "webp"):
        folder = folder_of(room, f"pictures {ending}")
        file = folder / f"one.{ending}"
        noise.save(file)
        made.append(
            Kind(f"picture, {ending}", folder, file, on_file(mutated_bytes), lambda file=file: read_picture(file, 16))
        )
    folder = folder_of(room, "shards")
    shard = folder / "shard.tar"
    with tarfile.open(shard, "w") as opened:
        for ending in ("png", "jpg"):
            opened.add(room / f"pictures-{ending}" / f"one.{ending}", f"{ending}.{ending}")

    def read_shard() -> None:
        source = open_images(shard)
        for number in range(len(source)):
            source.read(number, 16)

    made.append(Kind("tar", folder, shard, on_file(mutated_bytes), read_shard))
    return made
