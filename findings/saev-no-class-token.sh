#!/usr/bin/env bash
# saev 0.1.0: shards of a network without class token (cls_token=False) are read as if each picture had one.
# Why it matters here: SigLIP and Moondream2 have none, and an autoencoder's heat maps say where in which picture a
# concept is. `cls_token` is in the configuration, and is kept in the shards' metadata.json; one would guess that what
# was written comes back. The writer lays n tokens a picture, the reader steps by n + 1 and skips the first: every token
# is of another place, then of another picture, and the last of them are zeros of the file that nobody wrote.
# Seen with 12 pictures of 4 tokens, 8 pictures a shard; a token's value is its picture and its place:
#   cls_token=True:  48 of 48 tokens are what image_i and patch_i say
#   cls_token=False: 0 of 48; picture 0, place 0 gives (0, 1), picture 6, place 0 gives (8, 1), the last ones zeros
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q --no-deps saev==0.1.0 2>/dev/null
"$room/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 beartype==0.23.1 jaxtyping==0.3.11 \
    2>/dev/null
cat > "$room/shards.py" <<'PYTHON'
import logging
import os
import sys
from pathlib import Path

import torch
from saev import activations, config
from torchvision.utils import save_image

logging.disable()
os.chdir(sys.argv[1])
Path("pictures/one").mkdir(parents=True)
for number in range(12):
    save_image(torch.rand(3, 8, 8), f"pictures/one/{number:02d}.png")
right = {}
for cls_token in (True, False):
    stored = 4 + cls_token  # tokens a picture
    settings = config.Activations(
        data=config.ImageFolderDataset("pictures"), dump_to=f"shards-{cls_token}", d_vit=2, vit_layers=[0],
        n_patches_per_img=4, n_patches_per_shard=8 * stored, cls_token=cls_token,
    )
    tokens = torch.tensor([[[[i, p - cls_token] for p in range(stored)]] for i in range(12)]).float()
    writer = activations.ShardWriter(settings)
    writer[0:12] = tokens
    writer.flush()
    load = config.DataLoad(
        shard_root=activations.get_acts_dir(settings), patches="patches", layer=0, scale_mean=False, scale_norm=False
    )
    read = activations.Dataset(load)
    rows = [read[i] for i in range(len(read))]
    right[cls_token] = sum(row["act"].tolist() == [row["image_i"], row["patch_i"]] for row in rows)
    shown = (rows[0], rows[24], rows[47])
    told = [f"({row['image_i']}, {row['patch_i']}): {row['act'].int().tolist()}" for row in shown]
    print(f"cls_token={cls_token}: {right[cls_token]} of {len(rows)} right;", *told)
assert right == {True: 48, False: 0}
PYTHON
"$room/venv/bin/python" "$room/shards.py" "$room"
