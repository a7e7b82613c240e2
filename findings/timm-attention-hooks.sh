#!/usr/bin/env bash
# timm 1.0.31: AttentionExtract by hooks gives an empty dict, of a model as timm makes it, without a word.
# Why it matters here: attention maps are put beside pictures of concepts. With its method "fx" AttentionExtract refuses a
# model whose attention is fused (the default), for there is no softmax to find; one would guess that "hook", which finds
# the modules `attn_drop`, either gives the maps or refuses as well. Fused attention never calls these modules: they are
# found, hooked, and named in `.names`, and every picture gives {}. After timm.layers.set_fused_attn(False), which holds
# for models made after it alone, there are the maps.
# Seen, vit_tiny_patch16_224 of random weights; names that were hooked, maps that came back:
#   as it is        12 hooked   0 maps
#   made unfused    12 hooked  12 maps, (1, 3, 197, 197)
#   made before     12 hooked   0 maps
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q timm==1.0.31 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 2>/dev/null
cat > "$room/maps.py" <<'PYTHON'
import timm
import torch
from timm.utils import AttentionExtract


def maps(model):
    extract = AttentionExtract(model, method="hook")
    with torch.no_grad():
        found = extract(torch.rand(1, 3, 224, 224))
    print(len(extract.names), "hooked", len(found), "maps", {tuple(each.shape) for each in found.values()} or "")
    return len(extract.names), len(found)


before = timm.create_model("vit_tiny_patch16_224").eval()
assert maps(before) == (12, 0)
timm.layers.set_fused_attn(False)
assert maps(timm.create_model("vit_tiny_patch16_224").eval()) == (12, 12)
assert maps(before) == (12, 0)
try:
    AttentionExtract(before, method="fx")
except RuntimeError as error:
    print("fx:", error)
else:
    raise SystemExit("fx finds a softmax in a fused model")
PYTHON
"$room/venv/bin/python" "$room/maps.py"
