#!/usr/bin/env bash
# timm 1.0.31 numbers the classes of a folder of pictures otherwise than torchvision and datasets do.
# Why it matters here: a network trained on a folder by one is measured on it by another. All three say "a folder of one
# folder a class"; one would guess that the same folder gives the same labels. timm sorts names as people count,
# the others by characters: with folders named by numbers of different length most labels differ, and nothing fails.
# Seen with classes 0 to 11, a picture each:
#   torchvision ImageFolder: 0 1 10 11 2 3 4 5 6 7 8 9     datasets imagefolder: the same
#   timm create_dataset:     0 1 2 3 4 5 6 7 8 9 10 11     10 of 12 labels differ
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q timm==1.0.31 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 pillow==13.0.0 \
    datasets==5.2.0 2>/dev/null
cat > "$room/classes.py" <<'PYTHON'
import sys
from pathlib import Path

import datasets
from PIL import Image
from timm.data import create_dataset
from torchvision.datasets import ImageFolder

datasets.disable_progress_bars()
room = Path(sys.argv[1])
for name in range(12):
    (room / str(name)).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(room / str(name) / "picture.png")
seen = {
    "torchvision": ImageFolder(room).classes,
    "datasets": datasets.load_dataset("imagefolder", data_dir=str(room), split="train").features["label"].names,
    "timm": list(create_dataset("", root=str(room)).reader.class_to_idx),
}
for library, classes in seen.items():
    print(f"{library:12s}", *classes)
differ = sum(seen["timm"].index(name) != label for label, name in enumerate(seen["torchvision"]))
print(differ, "of 12 labels differ")
assert seen["torchvision"] == seen["datasets"] and differ == 10
PYTHON
HF_HOME="$room/hf" HF_HUB_OFFLINE=1 "$room/venv/bin/python" "$room/classes.py" "$room/pictures"
