#!/usr/bin/env bash
# torchvision 0.29.1: of a sample of plain tensors v2 transforms flip the first one, be it a label: the picture stays.
# Why it matters here: samples are dictionaries of a picture and what is known of it: attributes, an embedding, a class.
# One would guess that of two tensors the one of three dimensions is the picture, or that both are left or refused. The
# first one found is taken for a picture: a vector of attributes is turned round, and the picture is not augmented.
# Seen with RandomHorizontalFlip(p=1), a picture (3, 8, 8) and attributes 0 1 2 3; no warning:
#   {picture, attributes}: picture flipped, attributes 0 1 2 3
#   {attributes, picture}: picture as it was, attributes 3 2 1 0
#   (class 3 as a tensor, picture): neither is changed
#   with the picture as tv_tensors.Image: picture flipped, attributes 0 1 2 3, in either order
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 pillow==13.0.0 2>/dev/null
cat > "$room/first.py" <<'PYTHON'
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

flip = v2.RandomHorizontalFlip(p=1.0)
picture, attributes = torch.rand(3, 8, 8), torch.arange(4)


def flipped(sample):
    found = flip(sample)
    return torch.equal(found["picture"], picture.flip(-1)), found["attributes"].tolist()


seen = [
    flipped({"picture": picture, "attributes": attributes}),
    flipped({"attributes": attributes, "picture": picture}),
    flipped({"attributes": attributes, "picture": tv_tensors.Image(picture)}),
]
for name, (turned, values) in zip(("picture first", "attributes first", "as tv_tensors.Image"), seen):
    print(f"{name}: picture flipped {turned}, attributes", *values)
label, behind = flip((torch.tensor(3), picture))
print("behind a class: picture flipped", torch.equal(behind, picture.flip(-1)))
assert seen == [(True, [0, 1, 2, 3]), (False, [3, 2, 1, 0]), (True, [0, 1, 2, 3])]
assert torch.equal(behind, picture) and label == 3
PYTHON
"$room/venv/bin/python" "$room/first.py"
