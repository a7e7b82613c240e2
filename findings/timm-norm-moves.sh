#!/usr/bin/env bash
# timm 1.0.31: how a ViT's tokens are pooled decides whether forward_features and norm=True give normalized tokens.
# Why it matters here: tokens "after the final norm" are what concept spaces and probes are trained on. One would guess
# that forward_intermediates(norm=True) applies the final norm, or refuses as it does for Hiera, and that
# global_pool, which is about the head, leaves forward_features as it is. With average pooling the norm moves behind the
# pooling (fc_norm), its place is an Identity, and norm=True does nothing, silently; so it is in BEiT, EVA-02 and all
# `gap` models.
# Seen with random weights whose norms scale by 3, so that normalized tokens have a standard deviation of 3:
#   vit_tiny_patch16_224:                    forward_features 3.00; norm=True 3.00, norm=False 1.19
#   the same blocks with global_pool="avg":  forward_features 1.19; norm=True 1.19, bit for bit as norm=False
#   eva02_tiny_patch14_224:                  norm=True bit for bit as norm=False
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q timm==1.0.31 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 2>/dev/null
cat > "$room/norm.py" <<'PYTHON'
import timm
import torch

picture = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def spreads(name, **settings):
    """Of forward_features, with norm=True and without; and whether the latter two are the same."""
    torch.manual_seed(0)
    network = timm.create_model(name, **settings).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.weight.fill_(3.0)
    features = network.forward_features(picture)
    with_norm, without = (
        network.forward_intermediates(picture, indices=[-1], norm=norm, intermediates_only=True)[0]
        for norm in (True, False)
    )
    found = [round(each.std().item(), 1) for each in (features, with_norm, without)]
    print(name, settings, "features, norm=True, norm=False:", *found, "same", torch.equal(with_norm, without))
    return found, torch.equal(with_norm, without)


(features, with_norm, without), same = spreads("vit_tiny_patch16_224")
assert features == with_norm == 3.0 != without and not same
(features, with_norm, _), same = spreads("vit_tiny_patch16_224", global_pool="avg")
assert features == with_norm == without and same
assert spreads("eva02_tiny_patch14_224")[1]
PYTHON
HF_HUB_OFFLINE=1 "$room/venv/bin/python" "$room/norm.py"
