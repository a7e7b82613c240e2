#!/usr/bin/env bash
# pycocotools 2.0.11, Pillow 13.0.0, scikit-image 0.26.0 and OpenCV 5.0.0: one outline becomes masks of 16, 25 or 36
# pixels.
# Why it matters here: where a concept is, is compared with the outlines of objects (COCO, Open Images, labelling tools)
# by the IoU of masks. One would guess that four libraries that fill a polygon differ by a border pixel here and there,
# within rounding. COCO's own fills 4 by 4 pixels for a square of side 4, the others a row and a column more, on the
# right and below; Pillow also rounds outwards. An object masked by the one and the other is not the same object.
# Seen with squares from corner to corner, as pixels and IoU with COCO's mask:
#   (4, 4) to (8, 8):           pycocotools 16   Pillow 25, 0.64   scikit-image 25, 0.64   OpenCV 25, 0.64
#   (3.6, 3.6) to (8.4, 8.4):   pycocotools 16   Pillow 36, 0.44   scikit-image 25, 0.64   OpenCV 25, 0.64 (rounded)
#   (4, 4) to (36, 36):         pycocotools 1024, the others 1089, 0.94
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q --no-compile pycocotools==2.0.11 pillow==13.0.0 scikit-image==0.26.0 \
    opencv-python-headless==5.0.0.93 numpy==2.4.6 2>/dev/null
cat > "$room/outlines.py" <<'PYTHON'
import cv2
import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as coco
from skimage.draw import polygon2mask

SIDE = 40


def by_coco(corners):
    return coco.decode(coco.merge(coco.frPyObjects([corners.ravel().tolist()], SIDE, SIDE)))


def by_pillow(corners):
    image = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(image).polygon(corners.ravel().tolist(), fill=1)
    return np.array(image)


def by_skimage(corners):
    return polygon2mask((SIDE, SIDE), corners[:, ::-1])


def by_opencv(corners):
    image = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(image, [corners.round().astype(np.int32)], 1)
    return image


def filled(start, end):
    """Pixels, and IoU with COCO's mask, of a square as each library fills it."""
    corners = np.array([(start, start), (end, start), (end, end), (start, end)])
    masks = [fill(corners).astype(bool) for fill in (by_coco, by_pillow, by_skimage, by_opencv)]
    ious = [round(float((mask & masks[0]).sum() / (mask | masks[0]).sum()), 2) for mask in masks]
    print(f"({start}, {start}) to ({end}, {end}):", *[f"{mask.sum()} {iou}" for mask, iou in zip(masks, ious)])
    return [int(mask.sum()) for mask in masks], ious


assert filled(4, 8) == ([16, 25, 25, 25], [1.0, 0.64, 0.64, 0.64])
assert filled(3.6, 8.4) == ([16, 36, 25, 25], [1.0, 0.44, 0.64, 0.64])
assert filled(4, 36) == ([1024, 1089, 1089, 1089], [1.0, 0.94, 0.94, 0.94])
PYTHON
"$room/venv/bin/python" "$room/outlines.py"
