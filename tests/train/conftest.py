import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from usae_train.backbones.backbone import BackboneSpec

VIT = BackboneSpec(
    model="vit_tiny_patch16_224",
    weights="random",
    input_size=64,
    options={"depth": 1, "embed_dim": 32, "num_heads": 2},
)
CONV = BackboneSpec(
    model="convnext_atto",
    weights="random",
    input_size=64,
    seed=1,
    norm=False,
    options={"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 24)},
)


@pytest.fixture
def tiny_specs() -> dict[str, BackboneSpec]:
    """A ViT on a 4x4 grid and a ConvNeXt on a 2x2 grid, random weights, 64 px."""
    return {"vit": VIT, "conv": CONV}


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    """Six small pictures of noise."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    for number in range(6):
        pixels = torch.randint(256, (48, 64, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def folder_of_no_utf8(tmp_path: Path) -> Path:
    """A folder of a name that is not UTF-8."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfc"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    return folder
