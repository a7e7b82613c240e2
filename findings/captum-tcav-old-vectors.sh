#!/usr/bin/env bash
# captum 0.9.0: TCAV scores another concept, and another network, by vectors that were fitted for an earlier one.
# Why it matters here: concepts are tested one after the other, on one network after the other. That vectors are kept
# under save_path is documented; one would guess that they are kept for a concept and a network. Their file is named
# after the concepts' numbers and the layer alone (0-1-0.pkl), so that the next script, whose concepts begin at 0 again,
# is given the old vector, whatever its pictures, its names and its network are, without a word.
# Seen with a network whose class follows how red a picture is, then one of blue; captum's `magnitude` for the class, of
# the concept against noise, with the defaults (the fit varies by a few per cent):
#   red 2.2; blue, tried after red: 2.2, equal to the last digit; blue, with a save_path of its own: 0.05 to 0.1
#   the network of blue, tried after that, blue: 0.06 to 0.1; with a save_path of its own: 2.2
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q captum==0.9.0 scikit-learn==1.9.1 torch==2.14.1 numpy==2.4.6 2>/dev/null
cat > "$room/concepts.py" <<'PYTHON'
import os
import sys
import warnings

import torch
from captum.concept import TCAV, Concept
from torch import nn

warnings.filterwarnings("ignore")
os.chdir(sys.argv[1])
CHANNELS = {"red": 0, "blue": 2}


class Follower(nn.Module):
    """Its class is how bright one channel is; its layer keeps the three channels' means."""

    def __init__(self, colour):
        super().__init__()
        self.means = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(3, 2, bias=False)
        self.head.weight.data = torch.zeros(2, 3)
        self.head.weight.data[1, CHANNELS[colour]] = 1.0

    def forward(self, pictures):
        return self.head(self.means(pictures))


def pictures(colour, seed):
    made = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    if colour:
        made[:, CHANNELS[colour]] += 1
    return list(made.split(8))


def magnitude(network, colour, **settings):
    torch.manual_seed(0)
    concepts = [Concept(0, colour, pictures(colour, 1)), Concept(1, "noise", pictures(None, 2))]
    given = torch.cat(pictures(None, 3))[:8]
    scores = TCAV(network, ["means"], **settings).interpret(given, [concepts], target=1)
    return scores["0-1"]["means"]["magnitude"][0].item()


first, second = Follower("red").eval(), Follower("blue").eval()
red = magnitude(first, "red")
blue, blue_alone = magnitude(first, "blue"), magnitude(first, "blue", save_path="./alone/")
other, other_alone = magnitude(second, "blue"), magnitude(second, "blue", save_path="./other/")
print(f"red {red:.3f}; blue after it {blue:.3f}, alone {blue_alone:.3f}")
print(f"a network of blue, after them {other:.3f}, alone {other_alone:.3f}")
assert blue == red and abs(blue_alone - red) > 0.2
assert abs(other - other_alone) > 0.2
PYTHON
"$room/venv/bin/python" "$room/concepts.py" "$room"
