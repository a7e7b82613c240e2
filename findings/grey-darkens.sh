#!/usr/bin/env bash
# torchvision 0.29.1: making a grey uint8 tensor grey darkens every level but 0 by one, each time; a PIL image stays.
# Why it matters here: Grayscale and RandomGrayscale run on tensors in v2 pipelines, and X-rays, sketches and
# greyscale photographs are grey already. One would guess that a picture with R = G = B is left as it is, as PIL's is:
# but the weights 0.2989 + 0.587 + 0.114 sum to 0.9999, and the product is cut off, not rounded.
# Seen with the 256 grey levels as a uint8 tensor:
#   once:         255 levels one darker, white is 254; as a PIL image: 0 levels changed
#   twenty times: white is 235
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 pillow==13.0.0 2>/dev/null
cat > "$room/grey.py" <<'PYTHON'
import torch
from torchvision.transforms import v2

levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16).repeat(3, 1, 1)
grey = v2.Grayscale(num_output_channels=3)
once = grey(levels)
pictured = v2.functional.pil_to_tensor(grey(v2.functional.to_pil_image(levels)))
print("tensor: one darker", int((levels - once == 1)[0].sum()), "white becomes", once.max().item())
print("PIL: changed", int((pictured != levels)[0].sum()))
many = levels
for _ in range(20):
    many = grey(many)
print("twenty times: white becomes", many.max().item())
assert int((levels - once == 1)[0].sum()) == 255 and once.max() == 254
assert torch.equal(pictured, levels)
assert many.max() == 235
PYTHON
"$room/venv/bin/python" "$room/grey.py"
