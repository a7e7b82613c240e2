#!/usr/bin/env bash
# timm 1.0.31: features come in order of depth, not in the order asked for; feature_info tells of the order asked for.
# Why it matters here: layers are read by features_only with out_indices, and by forward_intermediates with indices; in
# a ViT all layers are of one shape, so that nothing breaks where two are mistaken for each other. One would guess that
# the first tensor is of the first index, and that feature_info (channels, reduction, module names) describes the
# tensors that come. An index given twice gives one tensor.
# Seen, asked for (3, 1):
#   swin_tiny:  tensors of 192 and 768 channels; feature_info: channels 768 192, reduction 32 8, layers.3 layers.1
#   vit_tiny:   the first tensor is block 1's, bit for bit; feature_info: blocks.3 blocks.1
#   forward_intermediates(indices=[3, 1]): the same order; [1, 1]: one tensor
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q timm==1.0.31 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 2>/dev/null
cat > "$room/order.py" <<'PYTHON'
import timm
import torch

picture = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def built(name, **settings):
    torch.manual_seed(0)
    return timm.create_model(name, **settings).eval()


with torch.no_grad():
    swin = built("swin_tiny_patch4_window7_224", features_only=True, out_indices=(3, 1))
    came, told = [each.shape[-1] for each in swin(picture)], swin.feature_info
    print("swin: channels", *came, "told", *told.channels(), *told.reduction(), *told.module_name())
    assert came == [192, 768] and told.channels() == [768, 192] and told.module_name() == ["layers.3", "layers.1"]

    vit = built("vit_tiny_patch16_224", features_only=True, out_indices=(3, 1))
    whole = built("vit_tiny_patch16_224")
    block = whole.forward_intermediates(picture, indices=[1], intermediates_only=True)[0]
    first, second = vit(picture)
    print("vit: told", *vit.feature_info.module_name(), "- the first is block 1:", torch.equal(first, block))
    assert vit.feature_info.module_name() == ["blocks.3", "blocks.1"]
    assert torch.equal(first, block) and not torch.equal(second, block)

    asked = whole.forward_intermediates(picture, indices=[3, 1], intermediates_only=True)
    twice = whole.forward_intermediates(picture, indices=[1, 1], intermediates_only=True)
    print("forward_intermediates [3, 1]: the first is block 1:", torch.equal(asked[0], block), "- [1, 1]:", len(twice))
    assert torch.equal(asked[0], block) and len(twice) == 1
PYTHON
HF_HUB_OFFLINE=1 "$room/venv/bin/python" "$room/order.py"
