#!/usr/bin/env bash
# Pillow 13.0.0: a 16 bit grey picture is cut off at 255 when it is made RGB, and so is in ImageFolder, timm, datasets
# and webdataset: nearly all of it is white.
# Why it matters here: X-rays, microscopy and depth maps are 16 bit PNGs, and data sets are read by these libraries,
# which make everything RGB. One would guess that 16 bits are scaled to 8. torchvision.io.decode_image cuts nothing:
# with mode RGB it hands out uint16.
# Seen with an even ramp from 0 to 65520, as the share of pixels that are white (of an even ramp in 8 bits 0.4%):
#   torchvision ImageFolder 99.6%   timm 99.6%   datasets Image(mode="RGB") 99.6%   webdataset decode("rgb") 99.6%
#   torchvision.io.decode_image(mode="RGB"): uint16, largest value 65520
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 pillow==13.0.0 timm==1.0.31 \
    datasets==5.2.0 webdataset==1.0.2 2>/dev/null
cat > "$room/ramp.py" <<'PYTHON'
import os
import sys
from pathlib import Path

import datasets
import numpy as np
import webdataset
from PIL import Image
from timm.data import create_dataset
from torchvision.datasets import ImageFolder
from torchvision.io import decode_image

os.chdir(sys.argv[1])
file = Path("pictures/one/ramp.png")
file.parent.mkdir(parents=True)
Image.fromarray((np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16)).save(file)
with webdataset.TarWriter("pictures.tar") as shard:
    shard.write({"__key__": "ramp", "png": file.read_bytes()})

column = datasets.Image(mode="RGB")
shards = webdataset.WebDataset("pictures.tar", shardshuffle=False)
opened = {
    "torchvision ImageFolder": ImageFolder("pictures")[0][0],
    "timm create_dataset": create_dataset("", root="pictures")[0][0],
    "datasets Image(mode='RGB')": datasets.Dataset.from_dict({"x": [str(file)]}).cast_column("x", column)[0]["x"],
    "webdataset decode('rgb')": next(iter(shards.decode("rgb")))["png"],
}
for library, picture in opened.items():
    pixels = np.asarray(picture)
    white = (pixels == (1.0 if pixels.dtype == np.float32 else 255)).mean()
    print(f"{library:28s} {white:.1%} white")
    assert white > 0.99
decoded = decode_image(str(file), mode="RGB")
print("torchvision decode_image    ", decoded.dtype, "largest", int(decoded.int().max()))
assert str(decoded.dtype) == "torch.uint16" and int(decoded.int().max()) == 65520
PYTHON
HF_HOME="$room/hf" HF_HUB_OFFLINE=1 "$room/venv/bin/python" "$room/ramp.py" "$room" 2>/dev/null
