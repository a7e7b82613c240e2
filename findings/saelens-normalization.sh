#!/usr/bin/env bash
# SAELens 6.54.12: what an autoencoder does to its tokens first is part of its config, and not of what is loaded.
# Why it matters here: `import-sae` refuses both settings by name, since codes alone could not be decoded as the library
# does. One would guess that an autoencoder that is saved and loaded normalizes as its config says, or is refused, and
# that `decode` depends on the codes alone.
# Seen with StandardSAE(d_in=8, d_sae=16), saved and loaded from the disk:
#   expected_average_only_in: loads without a word and encodes tokens as they are: no scale is in the folder
#   layer_norm: codes of A, decoded after B was encoded, come out with the mean and spread of B's tokens; decoded a second
#   time they raise AttributeError: 'StandardSAE' object has no attribute 'ln_std'
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q sae-lens==6.54.12 transformer-lens==3.9.0 transformers==5.24.0 torch==2.14.1 2>/dev/null
cat > "$room/normalize.py" <<'PYTHON'
import sys

import torch
from sae_lens import SAE, StandardSAE, StandardSAEConfig


def saved_and_loaded(normalize_activations):
    torch.manual_seed(0)
    config = StandardSAEConfig(d_in=8, d_sae=16, normalize_activations=normalize_activations)
    StandardSAE(config).save_model(sys.argv[1])
    return SAE.load_from_disk(sys.argv[1])


a, b = (torch.randn(4, 8, generator=torch.Generator().manual_seed(seed)) * (5 + seed) for seed in range(2))
sae = saved_and_loaded("expected_average_only_in")
plain = torch.relu((a - sae.b_dec) @ sae.W_enc + sae.b_enc)
print("expected_average_only_in: config", sae.cfg.normalize_activations, "- unscaled", torch.equal(sae.encode(a), plain))
assert sae.cfg.normalize_activations == "expected_average_only_in"
assert torch.equal(sae.encode(a), plain)

sae = saved_and_loaded("layer_norm")
codes = sae.encode(a)
at_once = sae.decode(codes)
sae.encode(b)
later = sae.decode(codes)
as_b = (codes @ sae.W_dec + sae.b_dec) * (b - b.mean(-1, keepdim=True)).std(-1, keepdim=True) + b.mean(-1, keepdim=True)
print("layer_norm: decoded at once and after B alike", torch.allclose(at_once, later), "- as B", torch.allclose(later, as_b))
assert not torch.allclose(at_once, later)
assert torch.allclose(later, as_b)
try:
    sae.decode(codes)
    raise SystemExit("decoded twice")
except AttributeError as error:
    print("layer_norm, decoded twice:", error)
PYTHON
"$room/venv/bin/python" -W ignore "$room/normalize.py" "$room/sae"
