#!/usr/bin/env bash
# torchvision 0.29.1: a white float16 or bfloat16 pixel becomes black when it is made uint8 by ToDtype(scale=True).
# Why it matters here: networks and optimized pictures in half precision are turned to bytes by this call. One would
# guess 255 for 1.0, at most off by one in 8-bit mantissas. The factor is 255.999, which half precisions round to 256,
# and 256 as a byte is 0; `convert_image_dtype` of the older module does the same.
# Seen with the 256 grey levels, level / 255, there and back:
#   float32:  white 255, 0 levels wrong
#   float16:  white 0, 16 levels wrong
#   bfloat16: white 0, 128 levels wrong; `x.float()` first: white 255
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 2>/dev/null
cat > "$room/white.py" <<'PYTHON'
import torch
from torchvision.transforms import functional as older
from torchvision.transforms import v2

levels = torch.arange(256).reshape(1, 16, 16)
as_bytes = v2.ToDtype(torch.uint8, scale=True)
seen = {}
for precision in (torch.float32, torch.float16, torch.bfloat16):
    floats = (levels / 255).to(precision)
    back = as_bytes(floats)
    assert torch.equal(back, older.convert_image_dtype(floats, torch.uint8))
    assert as_bytes(floats.float())[0, -1, -1] == 255
    seen[precision] = (back[0, -1, -1].item(), int((back != levels).sum()))
    print(precision, "white becomes", seen[precision][0], "levels wrong", seen[precision][1])
assert seen == {torch.float32: (255, 0), torch.float16: (0, 16), torch.bfloat16: (0, 128)}
PYTHON
"$room/venv/bin/python" "$room/white.py"
