#!/usr/bin/env bash
# SAELens 6.54.12: normalize_activations="expected_average_only_in" is kept with an autoencoder and done by nobody.
# Why it matters here: `import-sae` refuses it by name. One would guess that an autoencoder that is saved and loaded
# scales its tokens as its config says, with a factor that lies in its folder, or that it is refused without one.
# Seen with StandardSAE(d_in=8, d_sae=16), saved and loaded from the disk:
#   the config says expected_average_only_in; the folder holds W_enc, b_enc, W_dec, b_dec and no factor
#   it encodes and decodes without a word, tokens as they are: equal to the bit to one of normalize_activations="none"
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q sae-lens==6.54.12 transformer-lens==3.9.0 transformers==5.24.0 torch==2.14.1 2>/dev/null
cat > "$room/scale.py" <<'PYTHON'
import sys
import warnings

import torch
from safetensors.torch import load_file
from sae_lens import SAE, StandardSAE, StandardSAEConfig


def saved_and_loaded(normalize_activations):
    torch.manual_seed(0)
    config = StandardSAEConfig(d_in=8, d_sae=16, normalize_activations=normalize_activations)
    StandardSAE(config).save_model(sys.argv[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return SAE.load_from_disk(sys.argv[1])


tokens = torch.randn(4, 8) * 50  # of a norm of about 140, where sqrt(8) is meant
plain, scaled = saved_and_loaded("none"), saved_and_loaded("expected_average_only_in")
kept = sorted(load_file(f"{sys.argv[1]}/sae_weights.safetensors"))
print("config:", scaled.cfg.normalize_activations, "- tensors:", *kept)
alike = torch.equal(scaled.encode(tokens), plain.encode(tokens)), torch.equal(scaled(tokens), plain(tokens))
print("codes as without", alike[0], "- decoded as without", alike[1])
assert scaled.cfg.normalize_activations == "expected_average_only_in"
assert kept == ["W_dec", "W_enc", "b_dec", "b_enc"]
assert alike == (True, True)
PYTHON
"$room/venv/bin/python" "$room/scale.py" "$room/sae" 2>/dev/null
