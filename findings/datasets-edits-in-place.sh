#!/usr/bin/env bash
# datasets 5.2.0 stores the file that a Pillow image came from, not the image: what was done to it in place is lost.
# Why it matters here: pictures are shrunk by `thumbnail` and faces or labels are covered by `ImageDraw` before a data
# set is built; both change the image in place. One would guess that the dataset holds the pixels of the image that it
# was given: it was opened, loaded and changed in memory, and `size` and `getpixel` tell so.
# Seen, and without a warning: an image that has a `filename` is stored as that path, and decoded anew:
#   thumbnail:  given (64, 48)    stored (640, 480)
#   drawn over: given (0, 0, 0)   stored (200, 0, 0)
#   map with an in-place thumbnail: (640, 480), as if map had not run
#   the same given as `image.copy()`: (64, 48), for a copy has no file name
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q datasets==5.2.0 pillow==13.0.0 2>/dev/null
cat > "$room/edits.py" <<'PYTHON'
import sys

from datasets import Dataset, Features, disable_progress_bars
from datasets import Image as ImageColumn
from PIL import Image, ImageDraw

disable_progress_bars()
file = sys.argv[1]
Image.new("RGB", (640, 480), (200, 0, 0)).save(file)
columns = Features({"image": ImageColumn()})


def stored(image):
    return Dataset.from_dict({"image": [image]}, features=columns)[0]["image"]


small = Image.open(file)
small.thumbnail((64, 64))
print("thumbnail ", small.size, stored(small).size)
assert small.size == (64, 48) and stored(small).size == (640, 480)

covered = Image.open(file)
ImageDraw.Draw(covered).rectangle((0, 0, 640, 480), fill=(0, 0, 0))
print("drawn over", covered.getpixel((9, 9)), stored(covered).getpixel((9, 9)))
assert covered.getpixel((9, 9)) == (0, 0, 0) and stored(covered).getpixel((9, 9))[0] > 190


def shrink(row):
    row["image"].thumbnail((64, 64))
    return row


mapped = Dataset.from_dict({"image": [file]}, features=columns).map(shrink)[0]["image"]
print("map       ", mapped.size)
assert mapped.size == (640, 480)
print("copy      ", stored(small.copy()).size)
assert stored(small.copy()).size == (64, 48)
PYTHON
HF_HOME="$room/hf" HF_HUB_OFFLINE=1 "$room/venv/bin/python" "$room/edits.py" "$room/photo.jpg"
