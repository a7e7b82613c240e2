#!/usr/bin/env bash
# torchvision 0.29.1: what create_feature_extractor returns for a ResNet's bn1 depends on what else is asked for.
# Why it matters here: the activations of a batch norm (signed) are read for probes, SAEs and pictures of channels. One
# would guess that a layer's features are the layer's, asked for alone or with others. Asked for alone, the traced graph
# ends there; with a later layer the in-place ReLU that follows writes over the tensor which is handed back, silently.
# Seen with resnet18, random weights, as the share of values below zero:
#   extractor, bn1 alone:              0.5
#   extractor, bn1 and layer1:         0.0
#   forward hook on layer1.0.bn2:      0.0, and bit for bit the output of the whole block (`out += identity`, ReLU)
#   extractor, layer1.0.bn2 and layer1: 0.42, for traced `out += identity` is not in place
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 2>/dev/null
cat > "$room/company.py" <<'PYTHON'
import torch
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor

torch.manual_seed(0)
network, picture = resnet18().eval(), torch.randn(1, 3, 64, 64)


@torch.no_grad()
def extracted(first, *others):
    return create_feature_extractor(network, [first, *others])(picture)[first]


def below_zero(values):
    return round((values < 0).float().mean().item(), 2)


alone, in_company = extracted("bn1"), extracted("bn1", "layer1")
norm = extracted("layer1.0.bn2", "layer1")
hooked = {}
for name in ("layer1.0.bn2", "layer1.0"):
    network.get_submodule(name).register_forward_hook(
        lambda _module, _inputs, output, name=name: hooked.__setitem__(name, output)
    )
with torch.no_grad():
    network(picture)
print("extractor: bn1 alone", below_zero(alone), "with layer1", below_zero(in_company))
print("layer1.0.bn2: hook", below_zero(hooked["layer1.0.bn2"]), "extractor", below_zero(norm))
assert below_zero(alone) > 0.3 and torch.equal(in_company, alone.relu())
assert torch.equal(hooked["layer1.0.bn2"], hooked["layer1.0"]) and below_zero(hooked["layer1.0.bn2"]) == 0.0
assert below_zero(norm) > 0.3
PYTHON
"$room/venv/bin/python" "$room/company.py"
