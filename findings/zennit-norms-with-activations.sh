#!/usr/bin/env bash
# zennit 0.5.1 with timm 1.0.31: its canonizer for batch norms merges none of those of an EfficientNet, without a word.
# Why it matters here: explanations of convolutional networks by relevance are to be made of networks whose batch norms
# are merged into their convolutions, and zennit's SequentialMergeBatchNorm does so for any model whose norm comes after
# its convolution. timm's norms of EfficientNets are nn.BatchNorm2d (a subclass that has its activation within), each
# comes after its convolution, and one would guess that they are merged as those of a ResNet are. But zennit looks at
# modules without children alone, and the activation is a child: it passes over them, and gives relevances of the network
# as it was.
# Seen, random weights and statistics; merged norms of all, and how far a relevance map (EpsilonPlusFlat, first class)
# moves by the canonizer and by the same merging done by hand, as a share of the map's norm:
#   resnet18            20 of 20 merged
#   efficientnet_lite0   0 of 49 merged; canonizer 0.0, by hand 0.62
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q zennit==0.5.1 timm==1.0.31 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 2>/dev/null
cat > "$room/norms.py" <<'PYTHON'
import copy
import warnings

import timm
import torch
from torch import nn
from zennit.attribution import Gradient
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonPlusFlat

warnings.filterwarnings("ignore")


def network(name):
    torch.manual_seed(0)
    made = timm.create_model(name, num_classes=10).eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return made


def merged_by_hand(made):
    made = copy.deepcopy(made)
    before = None
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            by = module.weight / (module.running_var + module.eps).sqrt()
            before.weight.data *= by[:, None, None, None]
            before.bias = nn.Parameter((module.bias - module.running_mean * by).detach())
            module.running_mean.zero_()
            module.running_var.fill_(1 - module.eps)
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            before = module
    return made


def relevance(made, canonizers):
    with Gradient(made, EpsilonPlusFlat(canonizers=canonizers)) as attributor:
        return attributor(PICTURE, torch.eye(10)[[0]])[1]


PICTURE = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
counts = {}
for name in ("resnet18", "efficientnet_lite0"):
    made = network(name)
    norms = [module for module in made.modules() if isinstance(module, nn.BatchNorm2d)]
    merges = SequentialMergeBatchNorm().apply(made)
    counts[name] = len(merges), len(norms)
    for merge in merges:
        merge.remove()
    print(f"{name:20s} {len(merges)} of {len(norms)} merged")
made = network("efficientnet_lite0")
by_hand = merged_by_hand(made)
with torch.no_grad():
    assert torch.allclose(made(PICTURE), by_hand(PICTURE), rtol=1e-3, atol=1e-3)  # the same network
plain = relevance(made, [])
moved = {
    way: ((other - plain).norm() / plain.norm()).item()
    for way, other in {
        "canonizer": relevance(made, [SequentialMergeBatchNorm()]),
        "by hand": relevance(by_hand, []),
    }.items()
}
print(moved)
assert counts == {"resnet18": (20, 20), "efficientnet_lite0": (0, 49)}
assert moved["canonizer"] == 0.0
assert abs(moved["by hand"] - 0.62) < 0.05
PYTHON
"$room/venv/bin/python" "$room/norms.py"
