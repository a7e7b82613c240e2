#!/usr/bin/env bash
# Horama 0.3.0: feature accentuation does not start from the photograph, but from one stretched over the whole range.
# Why it matters here: "accentuated" pictures are compared with their photograph, and the penalty is to hold them to it.
# One would guess that zero steps return the photograph. It is scaled so that its darkest value is the least and its
# brightest the largest of values_range, whatever they were: a pale photograph gets full contrast before the first step.
# Seen with a photograph of values 0.4 and 0.6, values_range (0, 1), total_steps 0: values 0.001 and 0.999.
#   an ImageNet-normalized one between -1 and 1, values_range (-2.5, 2.5), the default: -2.495 to 2.495
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q Horama==0.3.0 einops==0.8.2 tqdm==4.70.1 torch==2.14.1 torchvision==0.29.1 \
    numpy==2.4.6 2>/dev/null  # Horama itself names neither einops nor tqdm
cat > "$room/start.py" <<'PYTHON'
import horama
import torch

pale = torch.full((3, 64, 64), 0.4)
pale[:, 16:48, 16:48] = 0.6
normalized = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
normalized[:, 0, 0], normalized[:, 0, 1] = -1.0, 1.0
for photograph, values_range in ((pale, (0.0, 1.0)), (normalized, (-2.5, 2.5))):
    picture, _ = horama.accentuation(
        torch.sum, photograph, total_steps=0, image_size=64, values_range=values_range, device="cpu"
    )
    found = [round(value.item(), 3) for value in (photograph.min(), photograph.max(), picture.min(), picture.max())]
    print("photograph", *found[:2], "values_range", *values_range, "after 0 steps", *found[2:])
    low, high = values_range
    assert abs(found[2] - low) < 0.01 * (high - low) and abs(found[3] - high) < 0.01 * (high - low)
PYTHON
TQDM_DISABLE=1 "$room/venv/bin/python" "$room/start.py"
