#!/usr/bin/env bash
# Horama 0.3.0 draws no crop of the sizes that box_size names: all are larger than its larger one.
# Why it matters here: crop sizes of the published MACO pictures are compared with ours by this number. box_size=(0.2,
# 0.25) is the smallest and largest side as a share of the image, and an assertion demands that order; one would guess
# that crops lie between them. They are drawn as uniform * (largest - smallest) + largest.
# Seen on an image that holds its own x coordinate, sides of those of 500 crops that lie within the image:
#   box_size (0.20, 0.25): 0.25 to 0.30
#   box_size (0.10, 0.50): 0.50 to 0.90; a (0.5, 1.0) would crop 1 to 1.5 times the image
#   box_size (0.25, 0.25): 0.25
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q Horama==0.3.0 einops==0.8.2 tqdm==4.70.1 torch==2.14.1 torchvision==0.29.1 \
    numpy==2.4.6 2>/dev/null  # Horama itself names neither einops nor tqdm
cat > "$room/crops.py" <<'PYTHON'
import torch
from horama.common import optimization_step

ramp = torch.linspace(0, 1, 1000).expand(3, 1000, 1000).clone()
within = []


def measure(crops):
    """Keep the sides of the crops whose pixels rise evenly, as they do away from the image's border."""
    row = crops[:, 0, 32, 2:62]
    steps = row.diff(dim=1)
    even = ((steps.amax(dim=1) - steps.amin(dim=1)) < 1e-4) & (row.amin(dim=1) > 0)
    within.append(steps[even].mean(dim=1) * 63 * 128 / 127)  # 128 sampled centres, then 64 from corner to corner
    return crops.sum()


for smallest, largest in ((0.20, 0.25), (0.10, 0.50), (0.25, 0.25)):
    within.clear()
    torch.manual_seed(0)
    for _ in range(5):
        image = ramp.clone().requires_grad_(True) * 1.0
        optimization_step(measure, image, (smallest, largest), 0.0, 100, 64)
    sides = torch.cat(within)
    print(f"box_size ({smallest:.2f}, {largest:.2f}): {len(sides)} crops, sides {sides.min():.3f} to {sides.max():.3f}")
    assert len(sides) > 20 and sides.min() > largest - 0.01 and sides.max() < 2 * largest - smallest + 0.02
PYTHON
"$room/venv/bin/python" "$room/crops.py"
