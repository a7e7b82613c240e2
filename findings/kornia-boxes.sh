#!/usr/bin/env bash
# kornia 0.9.0: a box that AugmentationSequential mirrors or resizes is a pixel or more away from its pixels.
# Why it matters here: boxes mark where a concept is in an augmented view. bbox_xyxy is of exclusive extent, so
# (0, 0, width, height) is the whole image; one would guess that it is still the whole image when mirrored.
# Seen, an image 30 wide and 20 high, with a white object that fills the box (5, 2, 10, 8):
#   whole image, mirrored:    kornia (-1, 0, 29, 20)     torchvision (0, 0, 30, 20)
#   the object's box, mirrored: kornia (19, 2, 24, 8), its pixels are at (20, 2, 25, 8), as torchvision says
#   whole image, Resize to 60 wide and 40 high: kornia (0, 0, 61.03, 41.05)    torchvision (0, 0, 60, 40)
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q kornia==0.9.0 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 2>/dev/null
cat > "$room/boxes.py" <<'PYTHON'
import kornia.augmentation as K
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

boxes = torch.tensor([[0.0, 0.0, 30.0, 20.0], [5.0, 2.0, 10.0, 8.0]])
image = torch.zeros(1, 3, 20, 30)
image[..., 2:8, 5:10] = 1


def by_kornia(augmentation):
    """The image and the boxes, each as (left, top, right, bottom), after the augmentation."""
    seen, moved = K.AugmentationSequential(augmentation, data_keys=["input", "bbox_xyxy"])(image, boxes[None])
    return seen, [[round(side, 2) for side in box] for box in moved[0].tolist()]


def by_torchvision(transform):
    return transform(tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(20, 30))).tolist()


def extent(seen):
    rows, columns = torch.nonzero(seen[0, 0], as_tuple=True)
    return [columns.min().item(), rows.min().item(), columns.max().item() + 1, rows.max().item() + 1]


mirrored, moved = by_kornia(K.RandomHorizontalFlip(p=1.0))
expected = by_torchvision(v2.RandomHorizontalFlip(p=1.0))
print("mirrored: kornia", moved, "torchvision", expected, "pixels", extent(mirrored))
assert moved == [[-1, 0, 29, 20], [19, 2, 24, 8]] and extent(mirrored) == [20, 2, 25, 8]
assert expected == [[0, 0, 30, 20], [20, 2, 25, 8]]
_, resized = by_kornia(K.Resize((40, 60)))
print("resized: kornia", resized[0], "torchvision", by_torchvision(v2.Resize((40, 60)))[0])
assert resized[0] == [0, 0, 61.03, 41.05] and by_torchvision(v2.Resize((40, 60)))[0] == [0, 0, 60, 40]
PYTHON
"$room/venv/bin/python" -W ignore "$room/boxes.py"
