#!/usr/bin/env bash
# SAELens 6.54.12: decode of an SAE with layer_norm depends on what was encoded last, not on its codes alone.
# Why it matters here: codes are kept and decoded later, patched, or ablated, between other encodes. One would guess
# that decode is a function of the codes: it takes nothing else. With normalize_activations="layer_norm" it undoes the
# mean and spread of the tokens of the latest encode, kept on the object; shapes that broadcast raise nothing.
# Seen with a TopK SAE, random weights, tokens of std 1:
#   codes of A decoded at once, and again after an encode of 100 * B: the spread is 96 times as large
#   normalize_activations="none": the same
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q sae-lens==6.54.12 torch==2.14.1 numpy==2.4.6 2>/dev/null
cat > "$room/decode.py" <<'PYTHON'
import torch
from sae_lens import TopKSAE, TopKSAEConfig

for normalization in ("none", "layer_norm"):
    torch.manual_seed(0)
    sae = TopKSAE(TopKSAEConfig(d_in=16, d_sae=64, k=4, normalize_activations=normalization)).eval()
    torch.nn.init.normal_(sae.W_enc)
    torch.nn.init.normal_(sae.W_dec, std=0.1)
    first, second = torch.randn(8, 16), 100 * torch.randn(8, 16)
    with torch.no_grad():
        codes = sae.encode(first)
        at_once = sae.decode(codes)
        sae.encode(second)
        later = sae.decode(codes)
    apart = (later - at_once).abs().max().item()
    ratio = (later.std() / at_once.std()).item()
    print(f"{normalization}: up to {apart:.1f} apart, spread {ratio:.1f} times")
    assert apart == 0.0 if normalization == "none" else ratio > 30
PYTHON
HF_HUB_OFFLINE=1 "$room/venv/bin/python" "$room/decode.py" 2>/dev/null
