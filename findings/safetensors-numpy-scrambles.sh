#!/usr/bin/env bash
# safetensors 0.8.0 writes a transposed numpy array as other numbers, where 0.7.0 wrote it rightly and torch's refuses.
# Why it matters here: a picture turned from (height, width, channel) to (channel, height, width), a weight turned for
# another library, an sklearn component: all are views of another order. One would guess what numpy.save does (the same
# numbers come back), or what safetensors.torch does (an error that says "non contiguous").
# Seen with a = arange(6).reshape(2, 3), saved as a.T, which is [[0 3] [1 4] [2 5]]:
#   safetensors 0.7.0: [[0 3] [1 4] [2 5]]
#   safetensors 0.8.0: [[0 1] [2 3] [4 5]]   the shape of a.T around the memory of a; save and load say nothing
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
cat > "$room/turned.py" <<'PYTHON'
import sys

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

saved = np.arange(6, dtype=np.float32).reshape(2, 3).T
save_file({"turned": saved}, sys.argv[1])
found = load_file(sys.argv[1])["turned"]
print("safetensors", safetensors.__version__, "saved", *saved.tolist(), "found", *found.tolist())
assert found.shape == saved.shape
assert np.array_equal(found, saved) == (safetensors.__version__ == "0.7.0")
PYTHON
for version in 0.7.0 0.8.0; do
    "$room/venv/bin/pip" install -q "safetensors==$version" numpy==2.3.5 2>/dev/null
    "$room/venv/bin/python" "$room/turned.py" "$room/turned.safetensors"
done
