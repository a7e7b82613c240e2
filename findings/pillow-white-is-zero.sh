#!/usr/bin/env bash
# Pillow 13.0.0 turns a TIFF whose zero is white the right way round at 8 bits; at 16 bits and float it stays inverted.
# Why it matters here: X-ray and microscope pictures come as TIFFs with PhotometricInterpretation 0 (WhiteIsZero), and
# a folder may hold 8 and 16 bit ones of one scanner. One would guess that Image.open gives brightness, at any depth, or
# that it gives the stored numbers, at any depth. Nothing in the image tells which of the two one has.
# Seen, black, grey and white as such files hold them (largest, middle, 0):
#   uint8   255 100 0      opened as   0 155 255
#   uint16  65535 100 0    opened as   65535 100 0
#   float32 1 0.25 0       opened as   1 0.25 0
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6 2>/dev/null
cat > "$room/zero.py" <<'PYTHON'
import sys

import numpy as np
import tifffile
from PIL import Image

opened = {}
for depth, values in (("uint8", [255, 100, 0]), ("uint16", [65535, 100, 0]), ("float32", [1, 0.25, 0])):
    tifffile.imwrite(sys.argv[1], np.array([values], depth), photometric="miniswhite")
    with Image.open(sys.argv[1]) as image:
        assert image.tag_v2[262] == 0
        opened[depth] = np.asarray(image).ravel().tolist()
    print(depth, "stored", *values, "opened as", *opened[depth])
assert opened == {"uint8": [0, 155, 255], "uint16": [65535, 100, 0], "float32": [1, 0.25, 0]}
PYTHON
"$room/venv/bin/python" "$room/zero.py" "$room/scan.tif"
