#!/usr/bin/env bash
# torch-lucent 0.1.8: adding the objective `diversity` makes the pictures of a batch the same; it must be subtracted.
# Why it matters here: diversity shows the facets of a feature. Its documentation says "if you optimize a batch of
# images, this objective will encourage them all to be different", and objectives add up; one would guess that it is
# added, as `channel` is; pictures that are alike then read as "the feature has one facet". Its value is large where
# pictures are diverse, and render_vis makes small what it is given: other objectives, `alignment` among them, are losses.
# Seen with three pictures, 60 steps, a small network; the mean likeness of their Gram matrices, 1 is the same:
#   channel 1.00;  channel + 10 diversity 1.00;  diversity alone 1.00;  channel - 10 diversity 0.00
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q torch-lucent==0.1.8 kornia==0.4.1 torch==2.14.1 torchvision==0.29.1 \
    numpy==2.4.6 2>/dev/null
cat > "$room/diversity.py" <<'PYTHON'
import numpy as np
import torch
from lucent.optvis import objectives, param, render
from torch import nn

torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(3, 16, 7, stride=4), nn.ReLU(), nn.Conv2d(16, 8, 3)).eval()
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def likeness(objective):
    torch.manual_seed(0)
    np.random.seed(0)
    (pictures,) = render.render_vis(
        network, objective, lambda: param.image(64, batch=3), transforms=[], fixed_image_size=64, thresholds=(60,),
        progress=False, show_image=False,
    )
    with torch.no_grad():
        found = network[:2]((torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - MEAN) / STD).flatten(2)
    grams = nn.functional.normalize((found @ found.transpose(1, 2)).flatten(1), dim=1)
    return ((grams @ grams.T).sum().item() - 3) / 6


channel, diversity = objectives.channel("0", 5), objectives.diversity("1")
seen = {
    "channel": likeness(channel),
    "channel + 10 diversity": likeness(channel + 10 * diversity),
    "diversity alone": likeness(diversity),
    "channel - 10 diversity": likeness(channel - 10 * diversity),
}
print(";  ".join(f"{name} {value:.2f}" for name, value in seen.items()))
*alike, different = seen.values()
assert min(alike) > 0.98 and different < 0.3
PYTHON
"$room/venv/bin/python" "$room/diversity.py" 2>/dev/null
