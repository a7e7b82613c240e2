#!/usr/bin/env bash
# torch-lucent 0.1.8: below 224 pixels (its own default is 128) random_scale can shrink a picture but not enlarge it.
# Why it matters here: lucent's robustness transforms are what "as in lucid" means in PyTorch; random_scale draws 0.9 to
# 1.1 there. One would guess that the network sees a picture scaled by 1.1 ten per cent larger, as in lucid. Below 224
# render_vis puts a resize to 224 behind the transforms, which takes back every enlarging, but not a shrinking: that
# one was padded to the old size. So 5 of the 11 scales do nothing, and pictures are only ever seen smaller.
# Seen with a square of half the side of a 128 pixel image, as its share of what the network is given, always 224 wide:
#   no transform 0.50;  scale 0.8 0.40, 0.9 0.46;  scale 1.1 0.50, 1.25 0.50
#   a 224 pixel image: scale 1.25 is given as 280 pixels: the object is larger, as expected
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q torch-lucent==0.1.8 kornia==0.4.1 torch==2.14.1 torchvision==0.29.1 \
    numpy==2.4.6 2>/dev/null
cat > "$room/enlarging.py" <<'PYTHON'
import torch
from lucent.optvis import render, transform

given = []


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Conv2d(3, 1, 1)

    def forward(self, picture):
        given.append(picture.detach()[0, 0])
        return self.body(picture)


def seen(side, *scales):
    """(pixels, share of the square) of what the network is given of a square of half the image's side."""
    image = torch.zeros(1, 3, side, side)
    image[..., side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 1
    image.requires_grad_(True)
    render.render_vis(
        Network().eval(), "body:0", lambda: ([image], lambda: image), lambda p: torch.optim.SGD(p, lr=0.0),
        [transform.random_scale(list(scales))] if scales else [], thresholds=(1,),
        preprocess=False, progress=False, show_image=False,
    )
    row = given[-1][len(given[-1]) // 2] > 0.5
    return len(row), round(row.float().mean().item(), 2)


default = {scale: seen(128, *scale) for scale in ((), (0.8,), (0.9,), (1.1,), (1.25,))}
print("128 pixels:", default)
print("224 pixels:", seen(224), seen(224, 1.25))
assert default == {(): (224, 0.5), (0.8,): (224, 0.4), (0.9,): (224, 0.46), (1.1,): (224, 0.5), (1.25,): (224, 0.5)}
assert seen(224, 1.25) == (280, 0.5)
PYTHON
"$room/venv/bin/python" -W ignore "$room/enlarging.py"
